// What a drift study measures in one window, and the verdict over all of them. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/rows.h"
#include "pipeline/drift_windows.h"
#include "pipeline/report/drift_report.h"
#include "retrieval/assign.h"

namespace llmcf::pipeline {

// Indices of the rows of each window, ascending. REQUIRES: every row lies in a window.
std::vector<std::vector<int64_t>> rows_by_window(const data::Rows& rows,
                                                 const TimeWindows& windows);

// Dates, and what the models have not seen: `rows` are rows of `set`'s test split.
DriftWindow describe_window(const data::RowSet& set, std::span<const int64_t> rows, int64_t begin,
                            int64_t end);

// NaN where a label is missing.
struct WindowScore {
  double auc = 0;
  double log_loss = 0;
  double group_auc = 0;
};
// logits: of all rows of `test`.
WindowScore score_window(const data::Rows& test, std::span<const int64_t> rows,
                         std::span<const float> logits);

// assignment: of all rows of `test`. The pool is what of `examples` is older than `cut`.
DriftPool measure_pool(const retrieval::Pool& examples, int64_t cut,
                       const retrieval::Assignment& assignment, const data::Rows& test,
                       std::span<const int64_t> rows);

// One check per threshold that is set, and for AUC one per variant that reads examples.
std::vector<DriftCheck> check_drift(const DriftData& data, const DriftOptions& options);

}  // namespace llmcf::pipeline
