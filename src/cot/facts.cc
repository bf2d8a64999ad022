// Counts how common attribute values and title words are, and looks items up.
#include "cot/facts.h"

#include <algorithm>
#include <unordered_set>

#include "core/strings.h"

namespace llmcf::cot {

namespace {

// Words that say nothing about what an item is: function words, counts and units.
const std::unordered_set<std::string_view>& stop_words() {
  static const std::unordered_set<std::string_view> kWords = {
      "and",     "the",     "for",      "with",   "from",    "set",      "pack",     "count",
      "ounce",   "ounces",  "fluid",    "each",   "pcs",     "pieces",   "new",      "size",
      "per",     "all",     "you",      "your",   "our",     "its",      "this",     "that",
      "are",     "not",     "but",      "bottle", "bottles", "inch",     "inches",   "item",
      "items",   "product", "products", "fl",     "type",    "made",     "color",    "colour",
      "large",   "small",   "medium",   "mini",   "plus",    "assorted", "includes", "edition",
      "version", "vol",     "volume",   "part",   "gram",    "grams"};
  return kWords;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '\'' || c == '-' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

std::vector<std::string> title_words(std::string_view title) {
  std::vector<std::string> words;
  size_t index = 0;
  while (index < title.size()) {
    size_t end = index;
    bool number = false;
    while (end < title.size() && (is_letter(title[end]) || is_digit(title[end]))) {
      number = number || is_digit(title[end]);
      ++end;
    }
    if (end == index) {
      ++index;
      continue;
    }
    std::string word = to_lower(title.substr(index, end - index));
    index = end;
    while (!word.empty() && (word.back() == '-' || word.back() == '\''))
      word.pop_back();
    while (!word.empty() && (word.front() == '-' || word.front() == '\''))
      word.erase(word.begin());
    if (word.ends_with("'s")) word.resize(word.size() - 2);
    if (number || word.size() < 3 || stop_words().contains(word)) continue;
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

FactBook::FactBook(const data::Dataset& dataset) : dataset_(dataset) {
  count_values();
  count_words();
}

void FactBook::count_values() {
  const auto& fields = dataset_.fields();
  const auto items = static_cast<double>(std::max<int64_t>(dataset_.num_items(), 1));
  for (size_t index = 0; index < fields.size(); ++index) {
    const data::FieldColumn& column = fields[index];
    if (column.field.side != data::Side::kItem || column.offsets.empty()) continue;
    if (column.field.buckets > 0) continue;  // quantile buckets have no names worth saying
    std::vector<double> share(static_cast<size_t>(column.vocabulary_size()), 0.0);
    for (const int32_t id : column.ids)
      share[static_cast<size_t>(id)] += 1.0 / items;
    for (double& value : share)
      value = std::min(value, 1.0);
    item_fields_.push_back(index);
    value_share_.push_back(std::move(share));
  }
}

void FactBook::count_words() {
  std::unordered_map<std::string, int32_t> known;
  std::vector<int64_t> counts;
  word_offsets_ = {0, 0};  // item 0 has none
  for (int64_t item = 1; item <= dataset_.num_items(); ++item) {
    for (std::string& word : title_words(dataset_.item_title(item))) {
      const auto [entry, is_new] = known.emplace(word, static_cast<int32_t>(words_.size()));
      if (is_new) {
        words_.push_back(std::move(word));
        counts.push_back(0);
      }
      ++counts[static_cast<size_t>(entry->second)];
      item_words_.push_back(entry->second);
    }
    word_offsets_.push_back(static_cast<int64_t>(item_words_.size()));
  }
  const auto items = static_cast<double>(std::max<int64_t>(dataset_.num_items(), 1));
  for (const int64_t count : counts)
    word_share_.push_back(static_cast<double>(count) / items);
}

ItemFacts FactBook::item(int32_t item) const {
  ItemFacts facts{.title = dataset_.item_title(item),
                  .text = dataset_.item_text(item),
                  .attributes = {},
                  .words = {}};
  for (size_t index = 0; index < item_fields_.size(); ++index) {
    const data::FieldColumn& column = dataset_.fields()[item_fields_[index]];
    const int64_t begin = column.offsets[static_cast<size_t>(item)];
    const int64_t end = column.offsets[static_cast<size_t>(item) + 1];
    if (begin == end) continue;
    AttributeValues attribute{.name = column.field.name, .values = {}};
    for (int64_t at = begin; at < end; ++at) {
      const int32_t id = column.ids[static_cast<size_t>(at)];
      attribute.values.push_back(
          {.text = column.vocabulary[id], .share = value_share_[index][static_cast<size_t>(id)]});
    }
    facts.attributes.push_back(std::move(attribute));
  }
  for (int64_t at = word_offsets_[static_cast<size_t>(item)];
       at < word_offsets_[static_cast<size_t>(item) + 1]; ++at) {
    const auto word = static_cast<size_t>(item_words_[static_cast<size_t>(at)]);
    facts.words.push_back({.text = words_[word], .share = word_share_[word]});
  }
  return facts;
}

Facts FactBook::facts(std::span<const int32_t> history, int32_t target,
                      std::optional<bool> decision, int64_t max_history) const {
  Facts facts{.history = {},
              .history_length = static_cast<int64_t>(history.size()),
              .target = target > 0 ? item(target) : ItemFacts{},
              .decision = decision};
  if (max_history > 0 && facts.history_length > max_history)
    history = history.last(static_cast<size_t>(max_history));
  facts.history.reserve(history.size());
  for (const int32_t past : history)
    facts.history.push_back(item(past));
  return facts;
}

}  // namespace llmcf::cot
