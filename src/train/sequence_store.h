// What a sequence model may read of a data set, and how its rows become sequences. A row is a
// positive row of the split (data/rows.h); sampled negatives have no place here, losses draw their
// own. No libtorch.
//
// Invariants:
//  1. Rows of a split are numbered [0, count): its positive rows in their own order. Slots of
//     examples are by that number.
//  2. An item is what its id says; users without a training row read the out-of-vocabulary row of
//     the user table (paper: there is none).
//  3. A unit is one sequence of a batch: a window of a user's history and the rows that it serves.
//     Every row of a split is served by exactly one unit.
//
// Thread safety: const after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/options.h"
#include "models/sequence_batch.h"
#include "train/feature_store.h"

namespace llmcf::train {

// The positive rows of a split, ascending.
std::vector<int64_t> positive_rows(const data::Rows& rows);

// Tokens history[begin, end) of a user, oldest first, and rows [first, last) of
// SequenceStore::served(), each of which reads the state after the items before it.
struct SequenceUnit {
  int32_t user = 0;
  int32_t begin = 0, end = 0;
  int64_t first = 0, last = 0;
};

// Units of one split.
struct SequenceUnits {
  std::vector<SequenceUnit> units;
  std::vector<int64_t> rows;  // the split's rows, in the order of the units
};

class SequenceStore {
 public:
  // `inputs` as for a click model, but that slots are by positive row; fields and side tables are
  // not read. Throws Error naming the input whose size does not fit.
  SequenceStore(FeatureInputs inputs, const FeatureOptions& options);

  const models::SequenceData& data() const { return data_; }
  const FeatureInputs& inputs() const { return inputs_; }
  const FeatureOptions& options() const { return base_.options(); }
  // History texts, user rows.
  const FeatureStore& base() const { return base_; }

  int64_t count(data::Split split) const {
    return static_cast<int64_t>(positives_[static_cast<size_t>(split)].size());
  }
  int32_t user(data::Split split, int64_t row) const { return rows(split).user[at(split, row)]; }
  int32_t item(data::Split split, int64_t row) const { return rows(split).item[at(split, row)]; }
  int32_t position(data::Split split, int64_t row) const {
    return rows(split).position[at(split, row)];
  }
  int64_t time(data::Split split, int64_t row) const { return rows(split).time[at(split, row)]; }

  // One unit per row: the last items before it.
  SequenceUnits row_units(data::Split split) const;
  // As few units as serve all rows: windows of each user's history, cut from its end.
  SequenceUnits window_units(data::Split split) const;

 private:
  const data::Rows& rows(data::Split split) const { return inputs_.rows->rows(split); }
  size_t at(data::Split split, int64_t row) const {
    return static_cast<size_t>(positives_[static_cast<size_t>(split)][static_cast<size_t>(row)]);
  }

  FeatureInputs inputs_;
  FeatureStore base_;
  models::SequenceData data_;
  std::array<std::vector<int64_t>, 3> positives_;
};

}  // namespace llmcf::train
