#include "train/sequence_store.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::train {

namespace {

// A click model's inputs without what belongs to rows.
FeatureInputs base_inputs(FeatureInputs inputs) {
  inputs.k = 0;
  inputs.slots = {};
  inputs.teacher_logits = {};
  inputs.kar_user = {};
  inputs.kar_user_row = {};
  inputs.kar_item = {};
  inputs.kar_dim = 0;
  inputs.slot_features = false;
  inputs.histories = false;
  return inputs;
}

}  // namespace

std::vector<int64_t> positive_rows(const data::Rows& rows) {
  std::vector<int64_t> positives;
  for (int64_t row = 0; row < rows.size(); ++row)
    if (rows.label[static_cast<size_t>(row)] > 0.5F) positives.push_back(row);
  return positives;
}

SequenceStore::SequenceStore(FeatureInputs inputs, const FeatureOptions& options)
    : inputs_(std::move(inputs)), base_(base_inputs(inputs_), options) {
  const data::Dataset& dataset = *inputs_.dataset;
  const int64_t unknown = options.paper ? 0 : 1;
  data_ = {.user_rows = dataset.num_users() + 1 + unknown,
           .item_rows = dataset.num_items() + 1 + unknown,
           .items = dataset.num_items(),
           .history_length = options.history_length,
           .text_dim = inputs_.text_dim};
  for (const data::Split split : data::kAllSplits) {
    auto& positives = positives_[static_cast<size_t>(split)];
    positives = positive_rows(rows(split));
    const size_t slots = inputs_.slots[static_cast<size_t>(split)].ids.size();
    const size_t expected = positives.size() * static_cast<size_t>(inputs_.k);
    if (slots != expected)
      throw Error(
          fmt::format("sequence store: {} slots for {} positive rows of split '{}' and k = "
                      "{}; were examples retrieved for a click model?",
                      slots, positives.size(), data::split_name(split), inputs_.k));
  }
}

SequenceUnits SequenceStore::row_units(data::Split split) const {
  SequenceUnits result;
  result.rows.resize(static_cast<size_t>(count(split)));
  std::iota(result.rows.begin(), result.rows.end(), int64_t{0});
  const auto L = static_cast<int32_t>(data_.history_length);
  for (const int64_t row : result.rows) {
    const int32_t end = position(split, row);
    result.units.push_back({.user = user(split, row),
                            .begin = std::max(0, end - L),
                            .end = end,
                            .first = row,
                            .last = row + 1});
  }
  return result;
}

// Rows of a user by descending position; a window ends where the first row that is not yet served
// reads, and serves all rows that read in it. A row that reads before any item has a unit of its
// own.
SequenceUnits SequenceStore::window_units(data::Split split) const {
  SequenceUnits result;
  result.rows.resize(static_cast<size_t>(count(split)));
  std::iota(result.rows.begin(), result.rows.end(), int64_t{0});
  std::stable_sort(result.rows.begin(), result.rows.end(), [&](int64_t a, int64_t b) {
    return std::tuple(user(split, a), -position(split, a)) <
           std::tuple(user(split, b), -position(split, b));
  });
  const auto L = static_cast<int32_t>(data_.history_length);
  for (size_t next = 0; next < result.rows.size();) {
    const int32_t owner = user(split, result.rows[next]);
    const int32_t end = position(split, result.rows[next]), begin = std::max(0, end - L);
    const size_t first = next;
    const auto reads_here = [&](int64_t row) {
      const int32_t read = position(split, row);
      return user(split, row) == owner && (end == 0 ? read == 0 : read > begin);
    };
    while (next < result.rows.size() && reads_here(result.rows[next]))
      ++next;
    result.units.push_back({.user = owner,
                            .begin = begin,
                            .end = end,
                            .first = static_cast<int64_t>(first),
                            .last = static_cast<int64_t>(next)});
  }
  return result;
}

}  // namespace llmcf::train
