// Counts over the slots of an assignment.
#include "retrieval/statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::retrieval {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Mean {
  double sum = 0;
  int64_t count = 0;

  void add(double value) {
    sum += value;
    ++count;
  }
  void add(const Mean& other) {
    sum += other.sum;
    count += other.count;
  }
  double value() const { return count == 0 ? kNone : sum / static_cast<double>(count); }
};

// Mean similarity to examples of each label.
struct Means {
  Mean positive;
  Mean negative;
};

void count_in(Histogram& histogram, double value) {
  const auto bins = static_cast<int64_t>(histogram.counts.size());
  const double share = (value - histogram.low) / (histogram.high - histogram.low);
  const auto bin = static_cast<int64_t>(std::floor(share * static_cast<double>(bins)));
  ++histogram.counts[static_cast<size_t>(std::clamp<int64_t>(bin, 0, bins - 1))];
}

// Area under the ROC curve, ties counted half; NaN if one class is empty.
double auc(std::vector<std::pair<double, bool>> scored) {
  std::sort(scored.begin(), scored.end());
  double wins = 0;
  double positives = 0;
  double negatives = 0;
  for (size_t i = 0; i < scored.size();) {
    double tied_positives = 0;
    double tied_negatives = 0;
    const double score = scored[i].first;
    for (; i < scored.size() && scored[i].first == score; ++i)
      (scored[i].second ? tied_positives : tied_negatives) += 1;
    wins += tied_positives * (negatives + 0.5 * tied_negatives);
    positives += tied_positives;
    negatives += tied_negatives;
  }
  return positives == 0 || negatives == 0 ? kNone : wins / (positives * negatives);
}

// Adds one row's slots to the histograms and the uses.
Means count_row(const Assignment& assignment, int64_t row, std::span<const float> pool_labels,
                std::vector<int64_t>& uses, Statistics& result) {
  Means means;
  const auto ids = assignment.ids_of(row);
  const auto similarity = assignment.similarity_of(row);
  for (size_t slot = 0; slot < ids.size(); ++slot) {
    if (ids[slot] < 0) continue;
    const auto id = static_cast<size_t>(ids[slot]);
    const bool positive = pool_labels[id] >= 0.5F;
    ++uses[id];
    (positive ? means.positive : means.negative).add(similarity[slot]);
    count_in(positive ? result.positive_similarity : result.negative_similarity, similarity[slot]);
  }
  return means;
}

double share(double part, double whole) {
  return whole == 0 ? 0 : part / whole;
}

void count_uses(std::vector<int64_t> uses, Statistics& result) {
  std::sort(uses.begin(), uses.end(), std::greater<>());
  const auto pool = static_cast<double>(uses.size());
  const size_t top = (uses.size() + 99) / 100;
  double all = 0;
  double in_top = 0;
  double used = 0;
  for (size_t i = 0; i < uses.size(); ++i) {
    all += static_cast<double>(uses[i]);
    if (i < top) in_top += static_cast<double>(uses[i]);
    if (uses[i] > 0) ++used;
  }
  result.coverage = share(used, pool);
  result.top_percent_share = share(in_top, all);
}

void check(const Assignment& assignment, std::span<const float> labels,
           std::span<const float> pool_labels) {
  if (static_cast<int64_t>(labels.size()) != assignment.rows) {
    throw Error(
        fmt::format("retrieval statistics: {} labels for {} rows", labels.size(), assignment.rows));
  }
  for (const int32_t id : assignment.ids) {
    if (id >= static_cast<int64_t>(pool_labels.size())) {
      throw Error(
          fmt::format("retrieval statistics: example {} of a pool of {}: assignment and "
                      "pool do not belong together",
                      id, pool_labels.size()));
    }
  }
}

}  // namespace

Statistics statistics(const Assignment& assignment, std::span<const float> labels,
                      std::span<const float> pool_labels, int64_t bins) {
  check(assignment, labels, pool_labels);
  Statistics result;
  result.rows = assignment.rows;
  result.k = assignment.k;
  result.positive_similarity.counts.resize(static_cast<size_t>(bins));
  result.negative_similarity.counts.resize(static_cast<size_t>(bins));
  Means all;
  std::vector<int64_t> uses(pool_labels.size(), 0);
  std::vector<std::pair<double, bool>> scored;
  int64_t empty = 0;
  for (int64_t row = 0; row < assignment.rows; ++row) {
    const Means means = count_row(assignment, row, pool_labels, uses, result);
    all.positive.add(means.positive);
    all.negative.add(means.negative);
    if (means.positive.count + means.negative.count == 0) ++empty;
    if (means.positive.count > 0 && means.negative.count > 0) {
      scored.emplace_back(means.positive.value() - means.negative.value(),
                          labels[static_cast<size_t>(row)] >= 0.5F);
    }
  }
  result.mean_positive_similarity = all.positive.value();
  result.mean_negative_similarity = all.negative.value();
  const auto slots = static_cast<double>(assignment.ids.size());
  const auto filled = static_cast<double>(all.positive.count + all.negative.count);
  result.masked_share = share(slots - filled, slots);
  result.empty_share = share(static_cast<double>(empty), static_cast<double>(assignment.rows));
  count_uses(std::move(uses), result);
  result.label_agreement_rows = static_cast<int64_t>(scored.size());
  result.label_agreement_auc = auc(std::move(scored));
  return result;
}

}  // namespace llmcf::retrieval
