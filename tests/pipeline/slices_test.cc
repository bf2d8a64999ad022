// Slices: which rows fall where, and the AUC of each bucket.
#include "pipeline/slices.h"

#include <cmath>

#include <gtest/gtest.h>

namespace llmcf::pipeline {
namespace {

TEST(BucketsTest, NamesAndMembership) {
  const Buckets buckets{.lows = {0, 1, 3, 6}};
  EXPECT_EQ(buckets.names(), (std::vector<std::string>{"0", "1-2", "3-5", "6+"}));
  EXPECT_EQ(buckets.of(0), 0U);
  EXPECT_EQ(buckets.of(2), 1U);
  EXPECT_EQ(buckets.of(3), 2U);
  EXPECT_EQ(buckets.of(600), 3U);
}

TEST(SliceTest, AucPerBucketIsTheMeanOverSeeds) {
  const std::vector<float> labels = {1, 0, 1, 0, 1, 1};
  const VariantScores variant{.name = "v", .logits = {{4, 1, 3, 2, 0, 0}, {1, 4, 2, 3, 0, 0}}};
  const Slice slice = slice_by(
      {.title = "t", .meaning = "m", .buckets = {.lows = {0, 5}}, .values = {1, 1, 1, 1, 9, 9}},
      labels, {variant});
  EXPECT_EQ(slice.rows, (std::vector<int64_t>{4, 2}));
  EXPECT_DOUBLE_EQ(slice.series[0].values[0], 0.5);  // 1 with the first seed, 0 with the second
  EXPECT_TRUE(std::isnan(slice.series[0].values[1])) << "one label only";
}

}  // namespace
}  // namespace llmcf::pipeline
