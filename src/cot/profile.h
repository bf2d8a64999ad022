// What a history favours and how a target compares with it: counted, not worded. The template
// reasoner words it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cot/facts.h"

namespace llmcf::cot {

// One value of an attribute, or a title word, over the history.
struct Tally {
  std::string_view value;
  int64_t count = 0;  // history items that carry it
  int64_t age = 0;    // choices since the latest of them; 0 = the last choice
  double share = 1;   // of the catalogue
  double weight = 0;  // recency-weighted share of the history, in [0, 1]
};

struct FieldProfile {
  std::string_view name;       // the attribute's; "" for title words
  std::vector<Tally> tallies;  // most telling first: count, then rarity, then recency

  const Tally* find(std::string_view value) const;
};

struct Profile {
  int64_t items = 0;                 // history items counted
  std::vector<FieldProfile> fields;  // in the order of the schema
  FieldProfile words;

  const FieldProfile* find(std::string_view field) const;
};

Profile make_profile(const Facts& facts);

// How telling a value is: 0 when every item has it, 1 when at most one in a thousand has.
double rarity(double share);

}  // namespace llmcf::cot
