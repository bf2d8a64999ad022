// Prose about the world of the sample shop, and questions with answers about it: what RecGen-mini
// reads before it is taught to recommend. True in every shop (data/sample_world.h).
//
// Invariant: the same seed gives the same texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llmcf::cot {

// One short document: who relies on which brands and why, what goes together, what words mean.
std::vector<std::string> shop_prose(int64_t documents, uint64_t seed);

struct ShopQuestion {
  std::string instruction;
  std::string answer;
};
// Questions about the world, and plain exercises with words (repeat, reverse, pick out, count).
std::vector<ShopQuestion> shop_questions(int64_t questions, uint64_t seed);

}  // namespace llmcf::cot
