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
  const VariantScores variant{.name = "v", .scores = {{4, 1, 3, 2, 0, 0}, {1, 4, 2, 3, 0, 0}}};
  const Slice slice = slice_by(
      {.title = "t", .meaning = "m", .buckets = {.lows = {0, 5}}, .values = {1, 1, 1, 1, 9, 9}},
      labels, {variant});
  EXPECT_EQ(slice.rows, (std::vector<int64_t>{4, 2}));
  EXPECT_DOUBLE_EQ(slice.series[0].values[0], 0.5);  // 1 with the first seed, 0 with the second
  EXPECT_TRUE(std::isnan(slice.series[0].values[1])) << "one label only";
}

TEST(SliceTest, SimilarityIsTheMeanOfShownExamplesInPercent) {
  const retrieval::Assignment slots{.rows = 4,
                                    .k = 2,
                                    .ids = {-1, 3, 4, 5, -1, -1, 1, 2},
                                    .similarity = {0, 0.25F, 0.5F, 0.75F, 0, 0, -0.5F, 0.25F},
                                    .history_similarity = {},
                                    .target_similarity = {}};
  const RowProperty property = similarity_property(slots);
  EXPECT_EQ(property.values, (std::vector<int64_t>{25, 62, 0, 0}));
  EXPECT_EQ(property.buckets.of(property.values[1]), 6U);
}

}  // namespace
}  // namespace llmcf::pipeline
