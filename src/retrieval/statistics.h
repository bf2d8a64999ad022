// What an assignment looks like: for the report, per split.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retrieval/assign.h"

namespace llmcf::retrieval {

// Counts in equal bins over [low, high]; values outside count in the outermost bins.
struct Histogram {
  double low = -1;
  double high = 1;
  std::vector<int64_t> counts;

  double bin_low(int64_t bin) const {
    return low + (high - low) * static_cast<double>(bin) / static_cast<double>(counts.size());
  }
};

struct Statistics {
  int64_t rows = 0;
  int64_t k = 0;
  // Score of the filled slots, by the example's label.
  Histogram positive_similarity;
  Histogram negative_similarity;
  double mean_positive_similarity = 0;  // NaN if no slot holds such an example
  double mean_negative_similarity = 0;
  double masked_share = 0;  // of all slots
  double empty_share = 0;   // of rows: no example at all
  // Share of the pool that some row uses, and the share of all uses that falls on the most used 1
  // %.
  double coverage = 0;
  double top_percent_share = 0;
  // AUC of (mean similarity to retrieved positives - to retrieved negatives) against the row's own
  // label, over the rows that have both; NaN if there are none or all have one label. A predictor
  // without a model: what the examples say beyond the text.
  double label_agreement_auc = 0;
  int64_t label_agreement_rows = 0;
};

// labels: [assignment.rows], the rows' own; pool_labels: [N]. Throws Error if lengths disagree.
Statistics statistics(const Assignment& assignment, std::span<const float> labels,
                      std::span<const float> pool_labels, int64_t bins = 40);

}  // namespace llmcf::retrieval
