// What a drift study does (section `drift` of a run file), and how it cuts time.
//
//   drift:
//     windows: 6                      # after the models' last row
//     window_days: 0                  # 0 = windows of equal numbers of rows, up to the last row
//     start_share: 0.6                # of the rows: what the models are made from
//     arms: [frozen, refreshed]       # frozen is always measured
//     max_auc_drop: 0.01              # thresholds, each optional: see DriftOptions
//
// Invariants:
//  1. Windows are half-open, adjoin each other and ascend; each holds at least one row.
//  2. Rows older than the first window make the models: the last `split.valid_share` of all rows
//     among them choose the epoch, the others are trained on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/rows.h"

namespace llmcf::pipeline {

struct DriftOptions {
  int64_t windows = 6;
  int64_t window_days = 0;
  double start_share = 0.6;
  bool refreshed = true;
  // All judge the newest window.
  std::optional<double> max_auc_drop;      // frozen: AUC of the first window minus the newest one's
  std::optional<double> max_refresh_gain;  // AUC of the refreshed arm minus the frozen one's
  std::optional<double> min_similarity;    // frozen: mean similarity of the retrieved examples
  std::optional<double> min_coverage;      // frozen: share of the rows that get all K examples
  std::optional<double> min_item_coverage;  // frozen: share of the positives whose item is in the
                                            // pool

  // Reads the whole section. Throws InputError.
  static DriftOptions from(const Config& config);
};

struct TimeWindows {
  int64_t valid_from = 0;       // Unix seconds
  std::vector<int64_t> bounds;  // [windows + 1]; window w is [bounds[w], bounds[w + 1])

  int64_t size() const { return static_cast<int64_t>(bounds.size()) - 1; }
  int64_t begin() const { return bounds.front(); }
  // The window of a row that lies in one.
  size_t of(int64_t time) const;
  // Rows of the models, with all windows as the test split.
  data::TimeCuts model_cuts() const {
    return {.valid_from = valid_from, .test_from = begin(), .end = bounds.back()};
  }
  // Rows that examples may come from, as one training split: those older than the last window, or
  // than the first one where no pool is refreshed.
  data::TimeCuts example_cuts(bool refreshed) const {
    const int64_t last = refreshed ? bounds[bounds.size() - 2] : begin();
    return {.valid_from = last, .test_from = last, .end = last};
  }
  std::string canonical() const;
};

// times: of all rows, ascending. Throws Error, saying what to change, if a window or a split of the
// models would be empty.
TimeWindows find_windows(std::span<const int64_t> times, const DriftOptions& options,
                         double valid_share);

// "2014-03-01", in UTC.
std::string date_text(int64_t time);

}  // namespace llmcf::pipeline
