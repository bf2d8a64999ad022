// A synthetic shop to try everything on without anybody's data: a catalogue with titles, brands,
// categories and descriptions, users with tastes, two years of purchases in time order.
//
// What is planted: every user has tastes over traits (scent, skin type, material, ...) that show
// only as words in titles and descriptions. Purchases follow category interest, tastes, popularity
// and season. Most items are rare or new, so that ids learn the tastes slowly, while whoever reads
// the words, or reasons about them, sees them at once. With `pursuit` above 1 every user also has a
// pursuit and buys the brands its people swear by, which no column says: sample_world.h.
//
// Invariants:
//  1. The same options give the same bytes on every machine.
//  2. The directory then holds interactions.tsv, items.tsv, schema.yaml (what `format: table`
//     reads) and README.txt.
#pragma once

#include <cstdint>
#include <filesystem>

#include "core/config.h"

namespace llmcf::data {

struct SampleOptions {
  int64_t users = 3000;
  int64_t items = 2000;
  double events_per_user = 10;  // mean; every user has at least 5, or as many as there are items
  double cold_share = 0.15;     // share of the items that are launched in the last quarter
  double items_per_brand = 25;  // mean; at least 4 brands, at most all of the world's
  double pursuit = 1;  // how much likelier an item of a brand of one's pursuit is; 1 = none
  int64_t seed = 2023;

  static SampleOptions from(const Config& config);
};

// Throws Error if a file cannot be written or a number is out of range.
void write_sample(const SampleOptions& options, const std::filesystem::path& directory);

}  // namespace llmcf::data
