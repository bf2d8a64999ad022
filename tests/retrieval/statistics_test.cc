// Statistics of hand-made assignments.
#include "retrieval/statistics.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace llmcf::retrieval {
namespace {

using ::testing::ElementsAre;

// Pool: examples 0, 1 positive; 2, 3 negative.
const std::vector<float> kPoolLabels = {1, 1, 0, 0};

Assignment three_rows() {
  Assignment result;
  result.rows = 3;
  result.k = 2;
  result.ids = {2, 0, 0, 2, -1, -1};
  result.similarity = {0.25F, 0.75F, 0.5F, 0.75F, 0, 0};
  return result;
}

TEST(RetrievalStatistics, CountsSlotsByTheExamplesLabel) {
  const Statistics found = statistics(three_rows(), std::vector<float>{1, 0, 1}, kPoolLabels, 4);
  EXPECT_THAT(found.positive_similarity.counts, ElementsAre(0, 0, 0, 2));
  EXPECT_THAT(found.negative_similarity.counts, ElementsAre(0, 0, 1, 1));
  EXPECT_DOUBLE_EQ(found.mean_positive_similarity, 0.625);
  EXPECT_DOUBLE_EQ(found.mean_negative_similarity, 0.5);
  EXPECT_DOUBLE_EQ(found.masked_share, 1.0 / 3);
  EXPECT_DOUBLE_EQ(found.empty_share, 1.0 / 3);
  EXPECT_DOUBLE_EQ(found.coverage, 0.5);
  EXPECT_DOUBLE_EQ(found.top_percent_share, 0.5);
}

TEST(RetrievalStatistics, AgreementComparesSimilarityToBothLabels) {
  const std::vector<float> right = {1, 0, 1};  // row 0 leans to positives, row 1 to negatives
  const std::vector<float> wrong = {0, 1, 1};
  EXPECT_DOUBLE_EQ(statistics(three_rows(), right, kPoolLabels).label_agreement_auc, 1);
  EXPECT_DOUBLE_EQ(statistics(three_rows(), wrong, kPoolLabels).label_agreement_auc, 0);
  EXPECT_EQ(statistics(three_rows(), right, kPoolLabels).label_agreement_rows, 2);
  EXPECT_TRUE(std::isnan(
      statistics(three_rows(), std::vector<float>{1, 1, 1}, kPoolLabels).label_agreement_auc));
  Assignment tied = three_rows();
  tied.similarity = {0.5F, 0.5F, 0.5F, 0.5F, 0, 0};
  EXPECT_DOUBLE_EQ(statistics(tied, right, kPoolLabels).label_agreement_auc, 0.5);
}

TEST(RetrievalStatistics, RefusesAnotherPoolOrOtherRows) {
  EXPECT_THROW(statistics(three_rows(), std::vector<float>{1}, kPoolLabels), Error);
  EXPECT_THROW(statistics(three_rows(), std::vector<float>{1, 0, 1}, std::vector<float>{1}), Error);
}

}  // namespace
}  // namespace llmcf::retrieval
