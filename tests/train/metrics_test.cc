// Metrics against definitions written out pair by pair, and against numbers worked by hand or taken
// from tables.
#include "train/metrics.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/random.h"
#include "core/threads.h"

namespace llmcf::train {
namespace {

struct Scored {
  std::vector<float> scores;
  std::vector<float> labels;
  std::vector<int32_t> groups;
};

// Scores on a coarse grid, so that ties are common; `signal` moves the clicks up.
Scored random_rows(int64_t count, double signal, uint64_t seed, int32_t num_groups = 7) {
  Random random(seed, "rows");
  Scored rows;
  for (int64_t row = 0; row < count; ++row) {
    const bool click = random.uniform() < 0.4;
    rows.labels.push_back(click ? 1.0F : 0.0F);
    rows.scores.push_back(
        static_cast<float>(std::round(4 * (random.normal() + (click ? signal : 0)))));
    rows.groups.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(num_groups))));
  }
  return rows;
}

double naive_auc(const std::vector<float>& scores, const std::vector<float>& labels) {
  double good = 0, pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] < 0.5F || labels[j] > 0.5F) continue;
      pairs += 1;
      good += scores[i] > scores[j] ? 1.0 : scores[i] == scores[j] ? 0.5 : 0.0;
    }
  }
  return good / pairs;
}

TEST(Auc, CountsOrderedPairs) {
  // Clicks at 3, 2; others at 2, 1: pairs (3,2) 1, (3,1) 1, (2,2) 0.5, (2,1) 1.
  EXPECT_DOUBLE_EQ(*auc(std::vector<float>{3, 2, 2, 1}, std::vector<float>{1, 1, 0, 0}), 3.5 / 4);
  EXPECT_DOUBLE_EQ(*auc(std::vector<float>{1, 1, 1}, std::vector<float>{1, 0, 0}), 0.5);
  EXPECT_DOUBLE_EQ(*auc(std::vector<float>{1, 2}, std::vector<float>{1, 0}), 0.0);
}

TEST(Auc, EqualsThePairwiseDefinitionWithManyTies) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Scored rows = random_rows(200, 0.5, seed);
    EXPECT_NEAR(*auc(rows.scores, rows.labels), naive_auc(rows.scores, rows.labels), 1e-12);
  }
}

TEST(Auc, IsUndefinedWithOneLabel) {
  EXPECT_FALSE(auc(std::vector<float>{1, 2}, std::vector<float>{1, 1}).has_value());
  EXPECT_FALSE(auc({}, {}).has_value());
}

TEST(LogLoss, EqualsCrossEntropyOfTheSigmoid) {
  const double p = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(log_loss(std::vector<float>{2, 2}, std::vector<float>{1, 0}),
              -(std::log(p) + std::log(1 - p)) / 2, 1e-12);
  EXPECT_NEAR(log_loss(std::vector<float>{0}, std::vector<float>{1}), std::log(2.0), 1e-12);
}

TEST(LogLoss, StaysFiniteForExtremeLogits) {
  EXPECT_DOUBLE_EQ(log_loss(std::vector<float>{1000, -1000}, std::vector<float>{0, 0}), 500.0);
}

TEST(GroupAuc, WeightsGroupsByRowsAndLeavesOutOneSidedOnes) {
  // Group 4: AUC 1 over 2 rows. Group 9: AUC 0.5 over 3 rows. Group 5: one label only.
  const std::vector<float> scores = {2, 1, 1, 3, 2, 7};
  const std::vector<float> labels = {1, 0, 0, 0, 1, 1};
  const std::vector<int32_t> groups = {4, 4, 9, 9, 9, 5};
  const auto result = group_auc(scores, labels, groups);
  EXPECT_DOUBLE_EQ(result->value, (1.0 * 2 + 0.5 * 3) / 5);
  EXPECT_EQ(result->groups, 2);
  EXPECT_EQ(result->rows, 5);
}

TEST(GroupAuc, EqualsTheAucOfEachGroup) {
  const Scored rows = random_rows(300, 0.5, 3);
  double weighted = 0, total = 0;
  for (int32_t group = 0; group < 7; ++group) {
    std::vector<float> scores, labels;
    for (size_t row = 0; row < rows.scores.size(); ++row) {
      if (rows.groups[row] != group) continue;
      scores.push_back(rows.scores[row]);
      labels.push_back(rows.labels[row]);
    }
    weighted += naive_auc(scores, labels) * static_cast<double>(scores.size());
    total += static_cast<double>(scores.size());
  }
  EXPECT_NEAR(group_auc(rows.scores, rows.labels, rows.groups)->value, weighted / total, 1e-12);
}

TEST(RelativeImprovement, IsThePapersFormula) {
  EXPECT_NEAR(*relative_improvement(0.62, 0.60), 0.2, 1e-12);
  EXPECT_FALSE(relative_improvement(0.62, 0.5).has_value());
  EXPECT_FALSE(relative_improvement(0.47, 0.48).has_value()) << "worse would look like better";
}

TEST(Bootstrap, CoversTheAucWithAboutItsStandardError) {
  const Scored rows = random_rows(4000, 1.0, 11);
  const double value = *auc(rows.scores, rows.labels);
  const Interval interval = *bootstrap_auc(rows.scores, rows.labels, {}, {.resamples = 500});
  EXPECT_LT(interval.low, value);
  EXPECT_GT(interval.high, value);
  // Hanley and McNeil (1982): the standard error from the AUC and the two counts alone.
  double clicks = 0;
  for (const float label : rows.labels)
    clicks += label;
  const double others = 4000 - clicks, q1 = value / (2 - value),
               q2 = 2 * value * value / (1 + value);
  const double error = std::sqrt((value * (1 - value) + (clicks - 1) * (q1 - value * value) +
                                  (others - 1) * (q2 - value * value)) /
                                 (clicks * others));
  EXPECT_NEAR((interval.high - interval.low) / (2 * 1.96 * error), 1, 0.15);
}

TEST(Bootstrap, IsTheSameForAnyNumberOfThreads) {
  const Scored rows = random_rows(500, 0.5, 5);
  set_thread_count(1);
  const Interval one = *bootstrap_auc(rows.scores, rows.labels, rows.groups);
  set_thread_count(3);
  const Interval three = *bootstrap_auc(rows.scores, rows.labels, rows.groups);
  EXPECT_EQ(one.low, three.low);
  EXPECT_EQ(one.high, three.high);
}

TEST(Bootstrap, ResamplesWholeGroups) {
  // Every row twice, the copies in one group: the interval must be that of the single rows, which
  // is sqrt(2) times wider than what treating copies as independent gives.
  Scored rows = random_rows(1000, 0.5, 8);
  std::vector<int32_t> groups(1000);
  for (int32_t row = 0; row < 1000; ++row)
    groups[static_cast<size_t>(row)] = row;
  const Interval single = *bootstrap_auc(rows.scores, rows.labels);
  rows.scores.insert(rows.scores.end(), rows.scores.begin(), rows.scores.begin() + 1000);
  rows.labels.insert(rows.labels.end(), rows.labels.begin(), rows.labels.begin() + 1000);
  groups.insert(groups.end(), groups.begin(), groups.begin() + 1000);
  const Interval grouped = *bootstrap_auc(rows.scores, rows.labels, groups);
  const Interval naive = *bootstrap_auc(rows.scores, rows.labels);
  EXPECT_NEAR((grouped.high - grouped.low) / (single.high - single.low), 1, 0.15);
  EXPECT_NEAR((grouped.high - grouped.low) / (naive.high - naive.low), std::sqrt(2.0), 0.25);
}

// DeLong et al. (1988), equations 3 to 5, pair by pair.
TEST(DeLong, EqualsTheDefinition) {
  const Scored a = random_rows(120, 0.8, 21);
  const Scored noise = random_rows(120, 0.0, 22);
  std::vector<float> second = a.scores;
  for (size_t row = 0; row < second.size(); ++row)
    second[row] += noise.scores[row];
  std::vector<std::vector<double>> by_click(2), by_other(2);
  const std::vector<float>* models[] = {&a.scores, &second};
  for (size_t model = 0; model < 2; ++model) {
    const std::vector<float>& scores = *models[model];
    for (size_t i = 0; i < scores.size(); ++i) {
      double sum = 0, count = 0;
      for (size_t j = 0; j < scores.size(); ++j) {
        if (a.labels[i] == a.labels[j]) continue;
        const float click = a.labels[i] > 0.5F ? scores[i] : scores[j];
        const float other = a.labels[i] > 0.5F ? scores[j] : scores[i];
        sum += click > other ? 1.0 : click == other ? 0.5 : 0.0;
        count += 1;
      }
      (a.labels[i] > 0.5F ? by_click : by_other)[model].push_back(sum / count);
    }
  }
  const auto variance = [](const std::vector<double>& x, const std::vector<double>& y) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < x.size(); ++i)
      mean += (x[i] - y[i]) / static_cast<double>(x.size());
    for (size_t i = 0; i < x.size(); ++i)
      squares += (x[i] - y[i] - mean) * (x[i] - y[i] - mean);
    return squares / static_cast<double>(x.size() - 1) / static_cast<double>(x.size());
  };
  const auto result = delong(a.scores, second, a.labels);
  EXPECT_NEAR(result->difference, naive_auc(a.scores, a.labels) - naive_auc(second, a.labels),
              1e-12);
  EXPECT_NEAR(result->standard_error,
              std::sqrt(variance(by_click[0], by_click[1]) + variance(by_other[0], by_other[1])),
              1e-12);
  const double z = result->difference / result->standard_error;
  EXPECT_NEAR(result->p_value, std::erfc(std::abs(z) / std::sqrt(2.0)), 1e-12);
}

TEST(DeLong, TellsAStrongModelFromNoise) {
  const Scored rows = random_rows(400, 1.0, 23);
  const Scored noise = random_rows(400, 0.0, 24);
  EXPECT_LT(delong(rows.scores, noise.scores, rows.labels)->p_value, 1e-6);
}

TEST(DeLong, FindsNoDifferenceBetweenAModelAndItself) {
  const Scored rows = random_rows(50, 0.5, 2);
  const auto result = delong(rows.scores, rows.scores, rows.labels);
  EXPECT_EQ(result->difference, 0);
  EXPECT_EQ(result->p_value, 1);
}

TEST(StudentT, MeetsThePublishedTable) {
  EXPECT_NEAR(student_t_cdf(1, 1), 0.75, 1e-12);  // Cauchy
  EXPECT_NEAR(student_t_cdf(std::sqrt(2.0), 2), 0.5 + std::sqrt(2.0) / (2 * 2.0), 1e-12);
  EXPECT_NEAR(student_t_quantile(0.975, 2), 4.302652729911275, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 4), 2.776445105197793, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.05, 10), -1.812461122811676, 1e-9);
  EXPECT_DOUBLE_EQ(student_t_cdf(0, 3), 0.5);
}

TEST(PairedT, GivesTheHandWorkedPValue) {
  // Differences .01, .02, .03: mean .02, deviation .01, t = .02 / (.01 / sqrt 3) = 2 sqrt 3 with 2
  // degrees; for 2 degrees P(|T| > t) = 1 - t / sqrt(2 + t^2).
  const auto result =
      paired_t_test(std::vector<double>{.81, .82, .83}, std::vector<double>{.80, .80, .80});
  const double t = 2 * std::sqrt(3.0);
  EXPECT_NEAR(result->difference, .02, 1e-12);
  EXPECT_NEAR(result->p_value, 1 - t / std::sqrt(2 + t * t), 1e-9);
  EXPECT_NEAR(result->interval.high, .02 + 4.302652729911275 * .01 / std::sqrt(3.0), 1e-9);
}

TEST(PairedT, NeedsTwoPairs) {
  EXPECT_FALSE(paired_t_test(std::vector<double>{.8}, std::vector<double>{.7}).has_value());
  EXPECT_EQ(paired_t_test(std::vector<double>{.8, .8}, std::vector<double>{.8, .8})->p_value, 1);
}

TEST(Summarise, DividesByCountMinusOne) {
  const Summary summary = summarise(std::vector<double>{1, 2, 3});
  EXPECT_DOUBLE_EQ(summary.mean, 2);
  EXPECT_DOUBLE_EQ(summary.deviation, 1);
  EXPECT_EQ(summarise(std::vector<double>{5}).deviation, 0);
}

}  // namespace
}  // namespace llmcf::train
