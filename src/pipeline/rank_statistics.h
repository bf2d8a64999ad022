// Statistics over ranks and small samples that tell whether one column says anything about another.
// Pure functions; random ones take a seed and give the same figures for any number of threads.
//
// Conventions: spans of one call have the same length (LLMCF_ASSERT); a label above 0.5 is
// positive; what is undefined (a constant column, a missing label) is std::nullopt.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "pipeline/report/report.h"

namespace llmcf::pipeline {

// Ranks from 1; equal values share the mean of theirs.
std::vector<double> mid_ranks(std::span<const double> values);

// Spearman's rank correlation, ties by mean ranks.
std::optional<double> spearman(std::span<const double> first, std::span<const double> second);

// Cohen's kappa of two raters over the same things: 1 = they agree always, 0 = as often as chance.
// nullopt without things, or if chance alone makes them agree always.
std::optional<double> cohens_kappa(std::span<const int64_t> first, std::span<const int64_t> second);

// What the AUC is when scores and labels have nothing to do with each other.
struct PermutationResult {
  double mean = 0.5;   // over the permutations
  Interval range;      // the middle 95 % of them
  double p_value = 1;  // two-sided, at least 1 / (permutations + 1)
};

// Shuffles the labels over the rows. nullopt if the AUC is undefined.
std::optional<PermutationResult> permute_auc(std::span<const float> scores,
                                             std::span<const float> labels, int64_t permutations,
                                             uint64_t seed);

// Percentile bootstrap over `count` units: the statistic of units drawn with replacement. nullopt
// if it is defined for fewer than half of the resamples.
std::optional<Interval> bootstrap_interval(
    size_t count, const std::function<std::optional<double>(std::span<const size_t>)>& statistic,
    int64_t resamples, uint64_t seed, std::string_view stream);

// Inequality of non-negative counts: 0 = all equal, towards 1 = one has everything. NaN if all are
// zero.
double gini(std::span<const int64_t> counts);

// Value below which a share of the sorted values lies, linearly between neighbours. NaN if empty.
double quantile(std::span<const double> sorted, double share);

}  // namespace llmcf::pipeline
