// Rows: what a ranking model is trained and judged on, split into train, validation and test.
//
// Invariants:
//  1. A row is (user, position, item, label, time): would `user`, after the first `position` items
//     of their history, take `item`? The history of a row is items [0, position) of the user's
//     history, oldest first: what precedes the row in the user's order of events. Times may be
//     equal (many logs have the resolution of a day); that order then decides.
//  2. Negatives follow their positive directly, share its user, position, time and event, and are
//     distinct items the user never touched in the whole data set. They depend on the seed only.
//  3. With explicit ratings the history holds only the items rated at or above the threshold.
//  4. Cut at explicit times (TimeCuts), rows know nothing of what came later: their negatives had
//     been seen in the log by then. They are the same wherever the cuts are.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/safetensors.h"
#include "data/dataset.h"

namespace llmcf::data {

// Bounds of the splits in time, Unix seconds: training rows are older than valid_from, validation
// rows lie in [valid_from, test_from), test rows in [test_from, end), later ones are left out.
// Equal bounds leave out a split. Negatives are drawn from the items whose first event is not later
// than the row; where fewer are left than needed (the first rows of a log), from the first that
// suffice.
struct TimeCuts {
  int64_t valid_from = 0;
  int64_t test_from = 0;
  int64_t end = 0;
};
std::string describe(const std::optional<TimeCuts>& cuts);  // for keys; empty if there are none

// What the split does; the configuration's `split` section.
struct SplitOptions {
  std::string method = "leave_one_out";  // leave_one_out | time | ratio
  double valid_share = 0.1;              // time, ratio: share of the rows
  double test_share = 0.1;
  int64_t min_history = 1;  // positives with a shorter history are not rows
  int64_t negatives = 1;    // per positive; ignored with explicit labels
  double user_share = 1;    // of the users that have rows; a larger share contains a smaller one
  double rating_threshold = 0;  // > 0: label = rating >= threshold, no sampled negatives
  int64_t seed = 2023;
  std::optional<TimeCuts> cuts = {};  // instead of the method and the shares; not a key

  static SplitOptions from(const Config& config);
};

// One split, by row. All spans have the same length.
struct Rows {
  std::span<const int32_t> user;
  std::span<const int32_t> item;
  std::span<const int32_t> position;  // length of the history
  std::span<const float> label;
  std::span<const int64_t> time;  // Unix seconds
  std::span<const int64_t>
      event;  // index into the data set's events (the positive's, for negatives)

  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

enum class Split { kTrain = 0, kValid = 1, kTest = 2 };
inline constexpr std::array<Split, 3> kAllSplits = {Split::kTrain, Split::kValid, Split::kTest};
std::string_view split_name(Split split);  // "train", "valid", "test"

class RowSet {
 public:
  explicit RowSet(const std::filesystem::path& path);

  const Rows& rows(Split split) const { return splits_[static_cast<size_t>(split)]; }
  const Rows& train() const { return rows(Split::kTrain); }

  // The first `position` items of the user's history, oldest first.
  std::span<const int32_t> history(int32_t user, int32_t position) const {
    return history_items_.subspan(static_cast<size_t>(history_offsets_[static_cast<size_t>(user)]),
                                  static_cast<size_t>(position));
  }
  // Items of the user's whole history.
  int32_t history_length(int32_t user) const {
    const auto at = static_cast<size_t>(user);
    return static_cast<int32_t>(history_offsets_[at + 1] - history_offsets_[at]);
  }
  // Whether the user has a training row; the others are out of vocabulary for a model.
  bool user_in_train(int32_t user) const { return user_in_train_[static_cast<size_t>(user)] != 0; }
  // How often each item is a positive of the training split, by item id [num_items + 1]:
  // popularity.
  std::span<const int32_t> item_train_count() const { return item_train_count_; }

 private:
  std::unique_ptr<SafetensorsReader> reader_;
  Rows splits_[3];
  std::span<const int64_t> history_offsets_;  // [num_users + 2]
  std::span<const int32_t> history_items_;
  std::span<const uint8_t> user_in_train_;
  std::span<const int32_t> item_train_count_;
};

// A question that no split holds: would the user, after the first `position` items, take `item`?
struct QueryRow {
  int32_t user = 0;
  int32_t item = 0;
  int32_t position = 0;
  int64_t time = 0;
};

// Writes a file of rows whose test split is `queries`, each labelled 1, with the histories and the
// training counts of the rows in `base`; its other splits are empty.
void write_query_rows(const Dataset& dataset, const std::filesystem::path& base,
                      std::span<const QueryRow> queries, const std::filesystem::path& path);

// Times of all rows of the drawn users that are no sampled negatives, ascending, whatever split
// they are in.
std::vector<int64_t> row_times(const Dataset& dataset, const SplitOptions& options);

// Splits, samples negatives and writes the file RowSet opens. Throws Error if a split would be
// empty.
void write_rows(const Dataset& dataset, const SplitOptions& options,
                const std::filesystem::path& path);

}  // namespace llmcf::data
