// What is known about one row before it is explained: the history and the target as titles and
// attributes, each with how common it is in the catalogue, and the decision. Prompts render it,
// the template reasoner reasons over it.
//
// Invariant: texts are the catalogue's, untouched. They are untrusted: whoever puts them into a
// prompt passes them through untrusted.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"

namespace llmcf::cot {

// One attribute value or title word. `share`: of the catalogue's items that carry it, in (0, 1].
struct Value {
  std::string_view text;
  double share = 1;
};

struct AttributeValues {
  std::string_view name;  // the field's, e.g. "brand"
  std::vector<Value> values;
};

struct ItemFacts {
  std::string_view title;
  std::string_view text;  // what encoders read: title and attributes in one line
  std::vector<AttributeValues> attributes{};
  std::vector<Value> words{};  // distinct title words, in order; no numbers and no stop words
};

struct Facts {
  std::vector<ItemFacts> history;  // the last ones, oldest first
  int64_t history_length = 0;      // all of it
  ItemFacts target;
  std::optional<bool> decision;  // null: not told
};

// Counts the catalogue once, then serves items. The data set must outlive it and its facts.
// Thread safety: const after construction.
class FactBook {
 public:
  explicit FactBook(const data::Dataset& dataset);

  ItemFacts item(int32_t item) const;
  // `history`: all items, oldest first; the last `max_history` are taken (0 = all). Target 0: none.
  Facts facts(std::span<const int32_t> history, int32_t target, std::optional<bool> decision,
              int64_t max_history) const;

 private:
  void count_words();
  void count_values();

  const data::Dataset& dataset_;
  std::vector<std::string> words_;                // by word id
  std::vector<double> word_share_;                // by word id
  std::vector<int64_t> word_offsets_;             // [items + 2]
  std::vector<int32_t> item_words_;               // word ids, by item
  std::vector<size_t> item_fields_;               // categorical item fields of the data set
  std::vector<std::vector<double>> value_share_;  // by item field, by value id
};

// Lower-case words of a title that can tell something: at least 3 letters, no number, no stop word.
std::vector<std::string> title_words(std::string_view title);

}  // namespace llmcf::cot
