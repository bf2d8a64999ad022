#include "pipeline/rank_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace llmcf::pipeline {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

Interval middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {.low = quantile(values, 0.025), .high = quantile(values, 0.975)};
}

}  // namespace

std::vector<double> mid_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t left, size_t right) { return values[left] < values[right]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]])
      ++end;
    for (size_t at = begin; at < end; ++at)
      ranks[order[at]] = 0.5 * static_cast<double>(begin + 1 + end);
    begin = end;
  }
  return ranks;
}

std::optional<double> spearman(std::span<const double> first, std::span<const double> second) {
  LLMCF_ASSERT(first.size() == second.size());
  const std::vector<double> a = mid_ranks(first);
  const std::vector<double> b = mid_ranks(second);
  const double mean = 0.5 * static_cast<double>(a.size() + 1);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  if (aa == 0 || bb == 0) return std::nullopt;
  return ab / std::sqrt(aa * bb);
}

std::optional<double> cohens_kappa(std::span<const int64_t> first,
                                   std::span<const int64_t> second) {
  LLMCF_ASSERT(first.size() == second.size());
  if (first.empty()) return std::nullopt;
  const auto count = static_cast<double>(first.size());
  std::map<int64_t, std::pair<double, double>> shares;
  double agreed = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    shares[first[i]].first += 1 / count;
    shares[second[i]].second += 1 / count;
    if (first[i] == second[i]) agreed += 1 / count;
  }
  double chance = 0;
  for (const auto& [grade, share] : shares)
    chance += share.first * share.second;
  if (1 - chance < 1e-12) return std::nullopt;
  return (agreed - chance) / (1 - chance);
}

std::optional<PermutationResult> permute_auc(std::span<const float> scores,
                                             std::span<const float> labels, int64_t permutations,
                                             uint64_t seed) {
  LLMCF_ASSERT(scores.size() == labels.size());
  std::vector<double> ranks = mid_ranks(std::vector<double>(scores.begin(), scores.end()));
  double sum = 0;
  size_t positives = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] <= 0.5F) continue;
    sum += ranks[i];
    ++positives;
  }
  const size_t negatives = labels.size() - positives;
  if (positives == 0 || negatives == 0) return std::nullopt;
  const auto auc_of = [&](double rank_sum) {
    const auto p = static_cast<double>(positives);
    return (rank_sum - p * (p + 1) / 2) / (p * static_cast<double>(negatives));
  };
  const double distance = std::abs(auc_of(sum) - 0.5);
  Random random(seed, "pipeline.permute_auc");
  std::vector<double> values;
  int64_t as_far = 0;
  for (int64_t i = 0; i < permutations; ++i) {
    double drawn = 0;
    for (size_t at = 0; at < positives; ++at) {  // the ranks of a random set of rows
      std::swap(ranks[at], ranks[at + random.below(ranks.size() - at)]);
      drawn += ranks[at];
    }
    values.push_back(auc_of(drawn));
    if (std::abs(values.back() - 0.5) >= distance - 1e-12) ++as_far;
  }
  const auto count = static_cast<double>(permutations);
  return PermutationResult{.mean = std::accumulate(values.begin(), values.end(), 0.0) / count,
                           .range = middle(values),
                           .p_value = (static_cast<double>(as_far) + 1) / (count + 1)};
}

std::optional<Interval> bootstrap_interval(
    size_t count, const std::function<std::optional<double>(std::span<const size_t>)>& statistic,
    int64_t resamples, uint64_t seed, std::string_view stream) {
  if (count == 0) return std::nullopt;
  Random random(seed, stream);
  std::vector<size_t> drawn(count);
  std::vector<double> values;
  for (int64_t i = 0; i < resamples; ++i) {
    for (size_t& unit : drawn)
      unit = random.below(count);
    if (const auto value = statistic(drawn)) values.push_back(*value);
  }
  if (2 * static_cast<int64_t>(values.size()) < resamples) return std::nullopt;
  return middle(values);
}

double gini(std::span<const int64_t> counts) {
  std::vector<int64_t> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end());
  double weighted = 0, total = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    weighted += static_cast<double>(i + 1) * static_cast<double>(sorted[i]);
    total += static_cast<double>(sorted[i]);
  }
  if (total == 0) return kNone;
  const auto n = static_cast<double>(sorted.size());
  return 2 * weighted / (n * total) - (n + 1) / n;
}

double quantile(std::span<const double> sorted, double share) {
  if (sorted.empty()) return kNone;
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace llmcf::pipeline
