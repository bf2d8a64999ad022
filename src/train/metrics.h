// Metrics of a ranking model and the statistics that compare two of them. Pure functions, no
// libtorch.
//
// Conventions: scores may be logits or probabilities (only their order counts) unless a name says
// otherwise; a label above 0.5 is a click. Spans of one call have the same length (LLMCF_ASSERT).
// What is undefined, such as the AUC of rows that all have one label, is std::nullopt, never NaN.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace llmcf::train {

// Area under the ROC curve, exact: the share of (click, no click) pairs in the right order, ties
// counting one half (rank statistic, O(n log n)). nullopt if a label is missing.
std::optional<double> auc(std::span<const float> scores, std::span<const float> labels);

// Mean binary cross entropy, from logits in double precision. REQUIRES: at least one row.
double log_loss(std::span<const float> logits, std::span<const float> labels);

struct GroupAuc {
  double value = 0;    // mean of the groups' AUC, weighted by their rows
  int64_t groups = 0;  // groups with both labels; the others are left out
  int64_t rows = 0;    // rows in those groups
};

// GAUC (Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017): groups are
// non-negative ids, usually users. nullopt if no group has both labels.
std::optional<GroupAuc> group_auc(std::span<const float> scores, std::span<const float> labels,
                                  std::span<const int32_t> groups);

// RelaImpr, the paper's section 4.1.2: (auc - 0.5) / (base - 0.5) - 1. nullopt unless base > 0.5.
std::optional<double> relative_improvement(double auc, double base);

struct Interval {
  double low = 0;
  double high = 0;
};

struct BootstrapOptions {
  int64_t resamples = 400;
  double level = 0.95;  // share of the resamples inside the interval
  uint64_t seed = 2023;
};

// Percentile bootstrap interval of the AUC. Rows are drawn with replacement; with `groups` (user
// ids) whole groups are, since the rows of one user are not independent. The same for any number of
// threads.
std::optional<Interval> bootstrap_auc(std::span<const float> scores, std::span<const float> labels,
                                      std::span<const int32_t> groups = {},
                                      const BootstrapOptions& options = {});

// The difference of two models, first minus second.
struct Comparison {
  double difference = 0;
  double standard_error = 0;
  double p_value = 1;  // two-sided
  Interval interval;   // 95 %
};

// DeLong's test of two AUCs on the same rows (DeLong et al., Biometrics 1988; O(n log n) by Sun and
// Xu, IEEE SPL 2014). It treats rows as independent. nullopt with fewer than two rows of a label.
std::optional<Comparison> delong(std::span<const float> first, std::span<const float> second,
                                 std::span<const float> labels);

struct Summary {
  int64_t count = 0;
  double mean = 0;
  double deviation = 0;  // sample standard deviation (n - 1); 0 for one value
};

Summary summarise(std::span<const double> values);

// Paired t-test over seeds: first[i] and second[i] share a seed. nullopt with fewer than two pairs.
// If all differences are equal the p value is 0 (1 if they are all zero).
std::optional<Comparison> paired_t_test(std::span<const double> first,
                                        std::span<const double> second);

// Student's t distribution. REQUIRES: degrees > 0, 0 < probability < 1.
double student_t_cdf(double t, double degrees);
double student_t_quantile(double probability, double degrees);

}  // namespace llmcf::train
