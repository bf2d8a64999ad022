// Rank statistics against values worked out by hand and against chance.
#include "pipeline/rank_statistics.h"

#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/random.h"

namespace llmcf::pipeline {
namespace {

using ::testing::ElementsAre;

TEST(MidRanks, TiesShareTheirMean) {
  EXPECT_THAT(mid_ranks(std::vector<double>{5, 1, 5, 0, 5}), ElementsAre(4, 2, 4, 1, 4));
  EXPECT_TRUE(mid_ranks({}).empty());
}

TEST(Spearman, IsOneForAnyIncreasingRelation) {
  const std::vector<double> x = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(*spearman(x, std::vector<double>{1, 10, 100, 1000}), 1);
  EXPECT_DOUBLE_EQ(*spearman(x, std::vector<double>{4, 3, 2, 1}), -1);
  // d = (0, 1, 1, 0): 1 - 6 * 2 / (4 * 15)
  EXPECT_DOUBLE_EQ(*spearman(x, std::vector<double>{1, 3, 2, 4}), 0.8);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(5 * 4.5).
  EXPECT_DOUBLE_EQ(*spearman(x, std::vector<double>{0, 1, 1, 2}), 4.5 / std::sqrt(5 * 4.5));
  EXPECT_FALSE(spearman(x, std::vector<double>{7, 7, 7, 7}).has_value());
}

TEST(CohensKappa, IsTheShareOfAgreementBeyondChance) {
  const std::vector<int64_t> a = {2, 2, 1, 0, 0};
  EXPECT_DOUBLE_EQ(*cohens_kappa(a, a), 1);
  // Observed 0.6; chance 0.5 * 0.5 + 0.5 * 0.5 of 50 yes/no judgements (20, 10, 10, 10 of 50).
  std::vector<int64_t> first, second;
  const auto add = [&](int count, int64_t left, int64_t right) {
    first.insert(first.end(), static_cast<size_t>(count), left);
    second.insert(second.end(), static_cast<size_t>(count), right);
  };
  add(20, 1, 1);
  add(5, 1, 0);
  add(10, 0, 1);
  add(15, 0, 0);
  EXPECT_NEAR(*cohens_kappa(first, second), 0.4, 1e-12);
  EXPECT_FALSE(cohens_kappa(std::vector<int64_t>{1, 1}, std::vector<int64_t>{1, 1}).has_value());
  EXPECT_FALSE(cohens_kappa({}, {}).has_value());
}

TEST(PermuteAuc, FindsARelationAndOnlyThat) {
  Random random(5, "tests.permute");
  std::vector<float> related, unrelated, labels;
  for (int i = 0; i < 400; ++i) {
    labels.push_back(i % 2 == 0 ? 1.0F : 0.0F);
    related.push_back(static_cast<float>(random.normal()) + 0.6F * labels.back());
    unrelated.push_back(static_cast<float>(random.normal()));
  }
  const auto found = permute_auc(related, labels, 999, 1);
  EXPECT_DOUBLE_EQ(found->p_value, 0.001);
  EXPECT_NEAR(found->mean, 0.5, 0.005);
  EXPECT_LT(found->range.low, 0.5);
  EXPECT_GT(found->range.high, 0.5);
  // The standard error of the AUC without a relation is sqrt(401 / (12 * 200 * 200)) = 0.029.
  EXPECT_NEAR(found->range.high - found->range.low, 2 * 1.96 * 0.0289, 0.015);
  EXPECT_GT(permute_auc(unrelated, labels, 999, 1)->p_value, 0.05);
  EXPECT_EQ(permute_auc(related, labels, 99, 1)->mean, permute_auc(related, labels, 99, 1)->mean);
  EXPECT_FALSE(permute_auc(related, std::vector<float>(400, 1.0F), 99, 1).has_value());
}

TEST(BootstrapInterval, HoldsTheMeanOfASample) {
  Random random(5, "tests.bootstrap");
  std::vector<double> values;
  for (int i = 0; i < 400; ++i)
    values.push_back(random.normal());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 400;
  const auto mean_of = [&](std::span<const size_t> drawn) -> std::optional<double> {
    double sum = 0;
    for (const size_t unit : drawn)
      sum += values[unit];
    return sum / 400;
  };
  const auto interval = bootstrap_interval(400, mean_of, 1000, 1, "tests");
  EXPECT_NEAR(interval->low, mean - 1.96 / 20, 0.02);
  EXPECT_NEAR(interval->high, mean + 1.96 / 20, 0.02);
  EXPECT_FALSE(bootstrap_interval(0, mean_of, 10, 1, "tests").has_value());
  const auto never = [](std::span<const size_t>) { return std::optional<double>(); };
  EXPECT_FALSE(bootstrap_interval(5, never, 10, 1, "tests").has_value());
}

TEST(Gini, IsZeroForEqualAndNearOneForOneTaker) {
  EXPECT_DOUBLE_EQ(gini(std::vector<int64_t>{3, 3, 3}), 0);
  EXPECT_DOUBLE_EQ(gini(std::vector<int64_t>{0, 0, 0, 8}), 0.75);
  EXPECT_TRUE(std::isnan(gini(std::vector<int64_t>{0, 0})));
}

TEST(Quantile, InterpolatesBetweenNeighbours) {
  const std::vector<double> sorted = {1, 2, 4};
  EXPECT_DOUBLE_EQ(quantile(sorted, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(sorted, 0.75), 3);
  EXPECT_DOUBLE_EQ(quantile(sorted, 1), 4);
}

}  // namespace
}  // namespace llmcf::pipeline
