// Rank statistics: everything here sorts once and then walks. See metrics.h.
#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include <unsupported/Eigen/SpecialFunctions>

#include "core/error.h"
#include "core/random.h"
#include "core/threads.h"

namespace llmcf::train {

namespace {

bool is_click(float label) {
  return label > 0.5F;
}

// Row numbers by ascending score.
std::vector<int32_t> sorted_rows(std::span<const float> scores) {
  std::vector<int32_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    const float left = scores[static_cast<size_t>(a)], right = scores[static_cast<size_t>(b)];
    return left != right ? left < right : a < b;
  });
  return rows;
}

// Sums over rows that arrive by ascending score: how many pairs are in order, ties one half.
struct PairCounter {
  double clicks = 0;
  double others = 0;
  double ordered = 0;
  double block_clicks = 0;
  double block_others = 0;

  void add(bool click, double weight) { (click ? block_clicks : block_others) += weight; }
  void end_block() {
    ordered += block_clicks * (others + 0.5 * block_others);
    clicks += block_clicks;
    others += block_others;
    block_clicks = block_others = 0;
  }
  std::optional<double> auc() const {
    if (clicks <= 0 || others <= 0) return std::nullopt;
    return ordered / (clicks * others);
  }
};

// Rows by ascending score, as a bootstrap resample reads them.
struct SortedRows {
  std::vector<uint8_t> click;
  std::vector<uint8_t> ends_block;  // the next score differs
  std::vector<int32_t> group;       // index of the unit that is resampled
  int64_t units = 0;
};

SortedRows sort_for_resampling(std::span<const float> scores, std::span<const float> labels,
                               std::span<const int32_t> groups) {
  const std::vector<int32_t> rows = sorted_rows(scores);
  SortedRows sorted;
  std::vector<int32_t> unit_of_group;
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    const auto row = static_cast<size_t>(rows[rank]);
    sorted.click.push_back(is_click(labels[row]) ? 1 : 0);
    const bool last = rank + 1 == rows.size();
    sorted.ends_block.push_back(
        last || scores[static_cast<size_t>(rows[rank + 1])] != scores[row] ? 1 : 0);
    if (groups.empty()) {
      sorted.group.push_back(static_cast<int32_t>(sorted.units++));
      continue;
    }
    const auto group = static_cast<size_t>(groups[row]);
    if (group >= unit_of_group.size()) unit_of_group.resize(group + 1, -1);
    if (unit_of_group[group] < 0) unit_of_group[group] = static_cast<int32_t>(sorted.units++);
    sorted.group.push_back(unit_of_group[group]);
  }
  return sorted;
}

std::optional<double> resampled_auc(const SortedRows& sorted, Random random,
                                    std::vector<int32_t>& counts) {
  counts.assign(static_cast<size_t>(sorted.units), 0);
  for (int64_t draw = 0; draw < sorted.units; ++draw)
    ++counts[random.below(static_cast<uint64_t>(sorted.units))];
  PairCounter counter;
  for (size_t rank = 0; rank < sorted.click.size(); ++rank) {
    counter.add(sorted.click[rank] != 0, counts[static_cast<size_t>(sorted.group[rank])]);
    if (sorted.ends_block[rank] != 0) counter.end_block();
  }
  return counter.auc();
}

// Value below which `share` of the sorted values lie, linearly interpolated.
double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// Mean rank (from 1) of every value among all, ties sharing theirs.
std::vector<double> midranks(std::span<const float> values) {
  const std::vector<int32_t> rows = sorted_rows(values);
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const float value = values[static_cast<size_t>(rows[begin])];
    while (end < rows.size() && values[static_cast<size_t>(rows[end])] == value)
      ++end;
    for (size_t rank = begin; rank < end; ++rank)
      ranks[static_cast<size_t>(rows[rank])] = 0.5 * static_cast<double>(begin + 1 + end);
  }
  return ranks;
}

// Per row, the share of rows of the other label that it is ordered correctly with (Sun and Xu,
// section III). Clicks first, then the others.
struct Placements {
  std::vector<double> clicks;
  std::vector<double> others;
};

Placements placements(std::span<const float> scores, std::span<const float> labels) {
  std::vector<float> click_scores, other_scores;
  for (size_t row = 0; row < scores.size(); ++row)
    (is_click(labels[row]) ? click_scores : other_scores).push_back(scores[row]);
  const std::vector<double> all = midranks(scores);
  const std::vector<double> among_clicks = midranks(click_scores);
  const std::vector<double> among_others = midranks(other_scores);
  const auto clicks = static_cast<double>(click_scores.size());
  const auto others = static_cast<double>(other_scores.size());
  Placements result;
  for (size_t row = 0; row < scores.size(); ++row) {
    if (is_click(labels[row])) {
      result.clicks.push_back((all[row] - among_clicks[result.clicks.size()]) / others);
    } else {
      result.others.push_back(1 - (all[row] - among_others[result.others.size()]) / clicks);
    }
  }
  return result;
}

// Summary of first - second.
Summary summarise_differences(std::span<const double> first, std::span<const double> second) {
  std::vector<double> differences;
  for (size_t row = 0; row < first.size(); ++row)
    differences.push_back(first[row] - second[row]);
  return summarise(differences);
}

double variance_of_mean(const Summary& summary) {
  return summary.deviation * summary.deviation / static_cast<double>(summary.count);
}

}  // namespace

std::optional<double> auc(std::span<const float> scores, std::span<const float> labels) {
  LLMCF_ASSERT(scores.size() == labels.size());
  const std::vector<int32_t> rows = sorted_rows(scores);
  PairCounter counter;
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    const auto row = static_cast<size_t>(rows[rank]);
    counter.add(is_click(labels[row]), 1);
    if (rank + 1 == rows.size() || scores[static_cast<size_t>(rows[rank + 1])] != scores[row])
      counter.end_block();
  }
  return counter.auc();
}

double log_loss(std::span<const float> logits, std::span<const float> labels) {
  LLMCF_ASSERT(logits.size() == labels.size() && !logits.empty());
  double sum = 0;
  for (size_t row = 0; row < logits.size(); ++row) {
    const double z = logits[row];
    sum += std::max(z, 0.0) - z * static_cast<double>(labels[row]) +
           std::log1p(std::exp(-std::abs(z)));
  }
  return sum / static_cast<double>(logits.size());
}

std::optional<GroupAuc> group_auc(std::span<const float> scores, std::span<const float> labels,
                                  std::span<const int32_t> groups) {
  LLMCF_ASSERT(scores.size() == labels.size() && scores.size() == groups.size());
  std::vector<int32_t> rows = sorted_rows(scores);
  std::stable_sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    return groups[static_cast<size_t>(a)] < groups[static_cast<size_t>(b)];
  });
  GroupAuc result;
  double weighted = 0;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const int32_t group = groups[static_cast<size_t>(rows[begin])];
    PairCounter counter;
    for (; end < rows.size() && groups[static_cast<size_t>(rows[end])] == group; ++end) {
      const auto row = static_cast<size_t>(rows[end]);
      if (end > begin && scores[static_cast<size_t>(rows[end - 1])] != scores[row])
        counter.end_block();
      counter.add(is_click(labels[row]), 1);
    }
    counter.end_block();
    const std::optional<double> value = counter.auc();
    if (!value) continue;
    weighted += *value * static_cast<double>(end - begin);
    result.rows += static_cast<int64_t>(end - begin);
    ++result.groups;
  }
  if (result.groups == 0) return std::nullopt;
  result.value = weighted / static_cast<double>(result.rows);
  return result;
}

std::optional<double> relative_improvement(double auc, double base) {
  if (base <= 0.5) return std::nullopt;  // no better than chance: nothing to improve on
  return (auc - 0.5) / (base - 0.5) - 1;
}

std::optional<Interval> bootstrap_auc(std::span<const float> scores, std::span<const float> labels,
                                      std::span<const int32_t> groups,
                                      const BootstrapOptions& options) {
  LLMCF_ASSERT(scores.size() == labels.size());
  LLMCF_ASSERT(groups.empty() || groups.size() == scores.size());
  const SortedRows sorted = sort_for_resampling(scores, labels, groups);
  std::vector<std::optional<double>> drawn(static_cast<size_t>(options.resamples));
  parallel_for(options.resamples, 8, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> counts;
    for (int64_t index = begin; index < end; ++index)
      drawn[static_cast<size_t>(index)] =
          resampled_auc(sorted, Random(options.seed, "bootstrap " + std::to_string(index)), counts);
  });
  std::vector<double> values;
  for (const std::optional<double>& value : drawn)
    if (value) values.push_back(*value);
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double tail = (1 - options.level) / 2;
  return Interval{.low = percentile(values, tail), .high = percentile(values, 1 - tail)};
}

std::optional<Comparison> delong(std::span<const float> first, std::span<const float> second,
                                 std::span<const float> labels) {
  LLMCF_ASSERT(first.size() == labels.size() && second.size() == labels.size());
  const Placements a = placements(first, labels), b = placements(second, labels);
  if (a.clicks.size() < 2 || a.others.size() < 2) return std::nullopt;
  const Summary clicks = summarise_differences(a.clicks, b.clicks);
  const Summary others = summarise_differences(a.others, b.others);
  Comparison result;
  result.difference = clicks.mean;
  result.standard_error = std::sqrt(variance_of_mean(clicks) + variance_of_mean(others));
  constexpr double kNormal975 = 1.959963984540054;
  result.interval = {.low = result.difference - kNormal975 * result.standard_error,
                     .high = result.difference + kNormal975 * result.standard_error};
  if (result.standard_error > 0) {
    result.p_value =
        std::erfc(std::abs(result.difference) / result.standard_error / std::sqrt(2.0));
  } else {
    result.p_value = result.difference == 0 ? 1 : 0;
  }
  return result;
}

Summary summarise(std::span<const double> values) {
  Summary summary{.count = static_cast<int64_t>(values.size()), .mean = 0, .deviation = 0};
  if (values.empty()) return summary;
  summary.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  if (values.size() < 2) return summary;
  double squares = 0;
  for (const double value : values)
    squares += (value - summary.mean) * (value - summary.mean);
  summary.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return summary;
}

std::optional<Comparison> paired_t_test(std::span<const double> first,
                                        std::span<const double> second) {
  LLMCF_ASSERT(first.size() == second.size());
  if (first.size() < 2) return std::nullopt;
  const Summary summary = summarise_differences(first, second);
  const auto degrees = static_cast<double>(summary.count - 1);
  Comparison result;
  result.difference = summary.mean;
  result.standard_error = std::sqrt(variance_of_mean(summary));
  const double reach = student_t_quantile(0.975, degrees) * result.standard_error;
  result.interval = {.low = summary.mean - reach, .high = summary.mean + reach};
  if (result.standard_error > 0) {
    result.p_value = 2 * student_t_cdf(-std::abs(summary.mean) / result.standard_error, degrees);
  } else {
    result.p_value = summary.mean == 0 ? 1 : 0;
  }
  return result;
}

double student_t_cdf(double t, double degrees) {
  const double tail = 0.5 * Eigen::numext::betainc(degrees / 2, 0.5, degrees / (degrees + t * t));
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double probability, double degrees) {
  LLMCF_ASSERT(probability > 0 && probability < 1);
  double low = -1, high = 1;
  while (student_t_cdf(low, degrees) > probability)
    low *= 2;
  while (student_t_cdf(high, degrees) < probability)
    high *= 2;
  for (int step = 0; step < 200 && high - low > 1e-14 * (1 + std::abs(low)); ++step) {
    const double middle = 0.5 * (low + high);
    (student_t_cdf(middle, degrees) < probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace llmcf::train
