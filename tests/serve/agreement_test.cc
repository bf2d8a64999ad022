// Agreement of two bundles about the same candidates, against values counted by hand.
#include "serve/agreement.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace llmcf::serve {
namespace {

TEST(AgreementTest, TheSameScoresAgreeInEverything) {
  const std::vector<float> scores = {0.3F, -1, 2, 0.1F};
  const Agreement same = agreement_of(scores, scores);
  EXPECT_DOUBLE_EQ(same.difference, 0);
  EXPECT_DOUBLE_EQ(same.overlap, 1);
  EXPECT_DOUBLE_EQ(same.tau, 1);
}

TEST(AgreementTest, TauCountsPairsOutOfOrder) {
  // Of six pairs (0,1) and (2,3) are swapped.
  EXPECT_DOUBLE_EQ(agreement_of(std::vector<float>{4, 3, 2, 1}, std::vector<float>{3, 4, 1, 2}).tau,
                   1 - 2 * 2.0 / 6);
  EXPECT_DOUBLE_EQ(agreement_of(std::vector<float>{1, 2, 3}, std::vector<float>{3, 2, 1}).tau, -1);
}

TEST(AgreementTest, OverlapIsOfTheTenBest) {
  std::vector<float> left, right;
  for (int i = 0; i < 20; ++i) {
    left.push_back(static_cast<float>(-i));
    right.push_back(static_cast<float>(-((i + 17) % 20)));  // three of the ten best differ
  }
  EXPECT_DOUBLE_EQ(agreement_of(left, right).overlap, 0.7);
}

TEST(AgreementTest, DifferenceIsOfProbabilities) {
  EXPECT_NEAR(agreement_of(std::vector<float>{0, 100}, std::vector<float>{100, 100}).difference,
              0.25, 1e-12);
}

TEST(AgreementTest, FewOrNoCandidatesAgree) {
  EXPECT_DOUBLE_EQ(agreement_of({}, {}).tau, 1);
  EXPECT_DOUBLE_EQ(agreement_of(std::vector<float>{1}, std::vector<float>{-1}).tau, 1);
}

}  // namespace
}  // namespace llmcf::serve
