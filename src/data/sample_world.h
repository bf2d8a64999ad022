// What people who live in the world of the sample shop know and no column of it says: which
// pursuits there are, which go together, which brands the people of a pursuit swear by, and what
// the words of a title mean.
//
// Invariant: the same for every shop, whatever its seed: `llmcf sample` draws shops from this
// world, and texts about it (`llmcf llm corpus`) hold true in all of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf::data {

struct Pursuit {
  std::string_view name;                  // "open-water swimming"
  std::string_view people;                // "swimmers"
  std::array<std::string_view, 3> needs;  // what it does to them, each a clause
  size_t companion;                       // the pursuit that goes with it; mutual
};

inline constexpr size_t kPursuits = 12;
const std::array<Pursuit, kPursuits>& pursuits();

// Every brand name a shop can hold, in a fixed order.
std::vector<std::string> world_brands();
// The pursuit whose people rely on the brand; nothing for a name that is no brand of this world.
std::optional<size_t> pursuit_of_brand(std::string_view brand);

// What a title's wording says about scent, need and promise (sample_words.h): an index into
// kScents, kNeeds, kValues each, nothing where the title is silent.
struct TitleMeaning {
  std::array<std::optional<size_t>, 3> traits;
};
TitleMeaning read_title(std::string_view title);

}  // namespace llmcf::data
