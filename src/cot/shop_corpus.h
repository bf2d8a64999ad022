// What RecGen-mini is made from, written by this project: prose about the world of the sample shop,
// questions about it, and chains of thought by somebody who knows it, about rows of shops drawn
// from it.
//
// Files of the directory (each whole or absent):
//   prose.txt        documents, an empty line between two
//   general.json     Alpaca JSON: questions and exercises (shop_prose.h)
//   recommend.json   Alpaca JSON: prompt `cot_short` about training rows -> shop_expert.h's answer;
//                    prompt `teach_short` -> Yes or No
//
// Invariant: the same options give the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/sample.h"

namespace llmcf::cot {

struct CorpusOptions {
  int64_t shops = 12;         // of different seeds
  int64_t chains = 3000;      // chains of thought per shop
  int64_t verdicts = 800;     // Yes or No per shop
  int64_t documents = 30000;  // of prose
  int64_t questions = 15000;
  int64_t max_history = 6;  // items of a history shown
  int64_t max_item_chars = 96;
  int64_t seed = 1;  // shop s has seed `seed` + s
  data::SampleOptions shop{.users = 1500, .items = 2000, .items_per_brand = 5, .pursuit = 8};
};

struct CorpusReport {
  int64_t documents = 0, questions = 0, chains = 0, verdicts = 0;
};

// Throws Error if a file cannot be written.
CorpusReport write_shop_corpus(const CorpusOptions& options,
                               const std::filesystem::path& directory);

}  // namespace llmcf::cot
