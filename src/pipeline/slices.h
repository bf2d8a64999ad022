// A measure by a property of the row: where does a variant help? Pure functions over scores of the
// test split.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/rows.h"
#include "pipeline/report/report.h"
#include "retrieval/assign.h"

namespace llmcf::pipeline {

// Buckets of a count: value v falls into the last bucket whose low is <= v. lows ascend and begin
// at 0.
struct Buckets {
  std::vector<int64_t> lows;

  size_t of(int64_t value) const;
  // "0", "1-2", "3-5", "20+"
  std::vector<std::string> names() const;
};

// A property of the rows to cut them by.
struct RowProperty {
  std::string title;
  std::string meaning;
  Buckets buckets;
  std::vector<int64_t> values;  // [Q]
};

// How long the history is, how popular the target: what reports cut rows by. `chosen` says which
// rows count, ascending; values are in their order.
std::vector<RowProperty> row_properties(const data::RowSet& set, const data::Rows& rows,
                                        std::span<const int64_t> chosen);
std::vector<RowProperty> row_properties(const data::RowSet& set, const data::Rows& rows);

// How similar the row's examples are on average, in percent; rows without examples count as 0.
RowProperty similarity_property(const retrieval::Assignment& slots);

// One variant's scores of every test row, one vector per seed.
struct VariantScores {
  std::string name;
  std::vector<std::vector<float>> scores;  // logits, or items before the target
};

// Of some rows' scores and labels; NaN where it is undefined.
using SliceMeasure = double (*)(std::span<const float> scores, std::span<const float> labels);
double mean_auc(std::span<const float> logits, std::span<const float> labels);
double mean_hit(std::span<const float> ranks, std::span<const float> labels);  // HIT@10

// labels: [Q]. Means over seeds.
Slice slice_by(const RowProperty& property, std::span<const float> labels,
               const std::vector<VariantScores>& variants, SliceMeasure measure = mean_auc);

}  // namespace llmcf::pipeline
