#include "pipeline/drift_measures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kDay = 86400;

double ratio(double part, int64_t whole) {
  return whole == 0 ? kNone : part / static_cast<double>(whole);
}

double share(int64_t part, int64_t whole) {
  return ratio(static_cast<double>(part), whole);
}

double median(std::vector<double>& values) {
  if (values.empty()) return kNone;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The series of a variant under an arm, or null.
const DriftSeries* find_series(const DriftData& data, const std::string& variant,
                               const std::string& arm) {
  const auto found = std::find_if(
      data.series.begin(), data.series.end(),
      [&](const DriftSeries& series) { return series.variant == variant && series.arm == arm; });
  return found == data.series.end() ? nullptr : &*found;
}

DriftCheck at_most(const std::string& key, const std::string& what, double value, double limit) {
  return {.key = key, .what = what, .value = value, .limit = limit, .violated = !(value <= limit)};
}

DriftCheck at_least(const std::string& key, const std::string& what, double value, double limit) {
  return {.key = key, .what = what, .value = value, .limit = limit, .violated = !(value >= limit)};
}

void check_auc(const DriftData& data, const DriftOptions& options,
               std::vector<DriftCheck>& checks) {
  for (const DriftSeries& series : data.series) {
    if (series.arm != "frozen") continue;
    const double newest = mean_of(series.auc.back());
    if (options.max_auc_drop) {
      checks.push_back(
          at_most("max_auc_drop",
                  fmt::format("AUC that '{}' with the frozen pool lost since the first window",
                              series.variant),
                  mean_of(series.auc.front()) - newest, *options.max_auc_drop));
    }
    const DriftSeries* refreshed = find_series(data, series.variant, "refreshed");
    if (options.max_refresh_gain && refreshed != nullptr) {
      checks.push_back(
          at_most("max_refresh_gain",
                  fmt::format("AUC that '{}' gains with the refreshed pool", series.variant),
                  mean_of(refreshed->auc.back()) - newest, *options.max_refresh_gain));
    }
  }
}

}  // namespace

std::vector<std::vector<int64_t>> rows_by_window(const data::Rows& rows,
                                                 const TimeWindows& windows) {
  std::vector<std::vector<int64_t>> found(static_cast<size_t>(windows.size()));
  for (size_t row = 0; row < rows.time.size(); ++row)
    found[windows.of(rows.time[row])].push_back(static_cast<int64_t>(row));
  return found;
}

DriftWindow describe_window(const data::RowSet& set, std::span<const int64_t> rows, int64_t begin,
                            int64_t end) {
  const data::Rows& test = set.rows(data::Split::kTest);
  int64_t cold_users = 0, cold_items = 0, positives = 0;
  for (const int64_t row : rows) {
    const auto index = static_cast<size_t>(row);
    cold_users += set.user_in_train(test.user[index]) ? 0 : 1;
    if (test.label[index] < 0.5F) continue;
    ++positives;
    cold_items += set.item_train_count()[static_cast<size_t>(test.item[index])] == 0 ? 1 : 0;
  }
  const auto count = static_cast<int64_t>(rows.size());
  return {.begin = date_text(begin),
          .end = date_text(end - 1),
          .rows = count,
          .cold_users = share(cold_users, count),
          .cold_items = share(cold_items, positives)};
}

WindowScore score_window(const data::Rows& test, std::span<const int64_t> rows,
                         std::span<const float> logits) {
  LLMCF_ASSERT(logits.size() == test.label.size());
  std::vector<float> scores, labels;
  std::vector<int32_t> users;
  for (const int64_t row : rows) {
    const auto index = static_cast<size_t>(row);
    scores.push_back(logits[index]);
    labels.push_back(test.label[index]);
    users.push_back(test.user[index]);
  }
  const auto grouped = train::group_auc(scores, labels, users);
  return {.auc = train::auc(scores, labels).value_or(kNone),
          .log_loss = rows.empty() ? kNone : train::log_loss(scores, labels),
          .group_auc = grouped ? grouped->value : kNone};
}

DriftPool measure_pool(const retrieval::Pool& examples, int64_t cut,
                       const retrieval::Assignment& assignment, const data::Rows& test,
                       std::span<const int64_t> rows) {
  std::set<int32_t> items, used;
  DriftPool pool;
  for (size_t example = 0; example < examples.time.size(); ++example) {
    if (examples.time[example] >= cut) continue;
    ++pool.examples;
    items.insert(examples.item[example]);
  }
  std::array<double, 2> similarity{};  // sums by the example's label
  std::array<int64_t, 2> slots{};
  std::vector<double> ages;
  int64_t full = 0, positives = 0, covered = 0;
  for (const int64_t row : rows) {
    const auto index = static_cast<size_t>(row);
    const auto ids = assignment.ids_of(row);
    const auto similarities = assignment.similarity_of(row);
    full += std::find(ids.begin(), ids.end(), -1) == ids.end() ? 1 : 0;
    for (size_t slot = 0; slot < ids.size(); ++slot) {
      if (ids[slot] < 0) continue;
      const auto example = static_cast<size_t>(ids[slot]);
      used.insert(ids[slot]);
      const size_t label = examples.label[example] > 0.5F ? 1 : 0;
      similarity[label] += similarities[slot];
      ++slots[label];
      ages.push_back(static_cast<double>(test.time[index] - examples.time[example]) / kDay);
    }
    if (test.label[index] < 0.5F) continue;
    ++positives;
    covered += items.contains(test.item[index]) ? 1 : 0;
  }
  pool.used = share(static_cast<int64_t>(used.size()), pool.examples);
  pool.full_rows = share(full, static_cast<int64_t>(rows.size()));
  pool.similarity = ratio(similarity[0] + similarity[1], slots[0] + slots[1]);
  pool.positive_similarity = ratio(similarity[1], slots[1]);
  pool.negative_similarity = ratio(similarity[0], slots[0]);
  pool.item_coverage = share(covered, positives);
  pool.age_days = median(ages);
  return pool;
}

std::vector<DriftCheck> check_drift(const DriftData& data, const DriftOptions& options) {
  std::vector<DriftCheck> checks;
  check_auc(data, options, checks);
  if (data.arms.empty()) return checks;
  const DriftPool& newest = data.arms.front().windows.back();
  if (options.min_similarity) {
    checks.push_back(at_least("min_similarity", "mean similarity of the frozen pool's examples",
                              newest.similarity, *options.min_similarity));
  }
  if (options.min_coverage) {
    checks.push_back(at_least("min_coverage", "share of rows that get K frozen examples",
                              newest.full_rows, *options.min_coverage));
  }
  if (options.min_item_coverage) {
    checks.push_back(at_least("min_item_coverage",
                              "share of positives whose item is in the frozen pool",
                              newest.item_coverage, *options.min_item_coverage));
  }
  return checks;
}

}  // namespace llmcf::pipeline
