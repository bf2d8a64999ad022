// Random streams: pinned to published values, so that a seed means the same bytes on every machine
// and in every version.
#include "core/random.h"

#include <algorithm>
#include <array>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llmcf {
namespace {

using ::testing::ElementsAre;

TEST(Random, IsXoshiro256StarStarSeededBySplitmix64) {
  // XXH3-64 of an empty name; mixed with itself the state grows from splitmix64(0), for which
  // other implementations of xoshiro256** publish this sequence.
  Random random(0x2D06800538D394C2ULL, "");
  EXPECT_EQ(random.next(), 0x99EC5F36CB75F2B4ULL);
  EXPECT_EQ(random.next(), 0xBF6E1F784956452AULL);
  EXPECT_EQ(random.next(), 0x1A5F849D4933E6E0ULL);
  EXPECT_EQ(random.next(), 0x6AA594F1262D2D2CULL);
}

TEST(Random, NamedStreamIsPinned) {
  Random random(2023, "split.negatives");
  EXPECT_EQ(random.next(), 0x9A4188CD00C77782ULL);
  EXPECT_EQ(random.next(), 0x5B41306023C8C611ULL);
  EXPECT_EQ(random.below(12'101), 9010u);
  EXPECT_EQ(random.below(12'101), 6205u);
  EXPECT_DOUBLE_EQ(random.uniform(), 0.24130146227205329);
  EXPECT_DOUBLE_EQ(random.normal(), -0.68040020568729853);
}

TEST(Random, ShuffleIsPinned) {
  std::vector<int> values(8);
  std::iota(values.begin(), values.end(), 0);
  Random random(1, "shuffle");
  random.shuffle(values);
  EXPECT_THAT(values, ElementsAre(3, 0, 7, 4, 2, 6, 1, 5));
}

TEST(Random, StreamsDifferByNameAndBySeed) {
  EXPECT_NE(Random(1, "a").next(), Random(1, "b").next());
  EXPECT_NE(Random(1, "a").next(), Random(2, "a").next());
  EXPECT_EQ(Random(1, "a").next(), Random(1, "a").next());
}

TEST(Random, BelowStaysInRangeAndIsEven) {
  Random random(7, "below");
  std::array<int, 6> counts{};
  for (int draw = 0; draw < 60'000; ++draw)
    ++counts.at(random.below(6));
  for (const int count : counts)
    EXPECT_NEAR(count, 10'000, 450);  // 5 standard deviations
  for (int draw = 0; draw < 100; ++draw)
    EXPECT_EQ(random.below(1), 0u);
  const uint64_t huge = (uint64_t{1} << 63) + 1;
  for (int draw = 0; draw < 1'000; ++draw)
    EXPECT_LT(random.below(huge), huge);
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  Random random(7, "moments");
  constexpr int kDraws = 100'000;
  double sum = 0, normal_sum = 0, normal_squares = 0, low = 1, high = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const double uniform = random.uniform();
    low = std::min(low, uniform);
    high = std::max(high, uniform);
    sum += uniform;
    const double normal = random.normal();
    normal_sum += normal;
    normal_squares += normal * normal;
  }
  EXPECT_GE(low, 0);
  EXPECT_LT(high, 1);
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(normal_sum / kDraws, 0, 0.016);
  EXPECT_NEAR(normal_squares / kDraws, 1, 0.023);
}

TEST(Random, ShuffleKeepsEveryElement) {
  std::vector<int> values(1'000);
  std::iota(values.begin(), values.end(), 0);
  std::vector<int> sorted = values;
  Random(3, "x").shuffle(values);
  EXPECT_NE(values, sorted);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(values, sorted);
  std::vector<int> none;
  Random(3, "x").shuffle(none);
  EXPECT_TRUE(none.empty());
}

TEST(Random, WeightedFollowsTheWeightsAndNeverDrawsZero) {
  Random random(5, "weighted");
  const std::array<double, 4> weights = {0, 1, 3, 0};
  std::array<int, 4> counts{};
  for (int draw = 0; draw < 40'000; ++draw)
    ++counts.at(random.weighted(weights));
  EXPECT_EQ(counts[0], 0);
  EXPECT_EQ(counts[3], 0);
  EXPECT_NEAR(counts[1], 10'000, 450);
}

}  // namespace
}  // namespace llmcf
