// Item vectors from chains of thought, and their part in the similarity.
#include "retrieval/reasoned.h"

#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "retrieval/collaborative.h"

namespace llmcf::retrieval {
namespace {

using ::testing::Each;
using ::testing::FloatNear;

// Items 1 and 2 are chosen for one reason, item 3 for another; user 4 refuses item 1 for the other.
struct Told {
  std::vector<int32_t> user = {1, 2, 3, 4}, item = {1, 2, 3, 1};
  std::vector<float> label = {1, 1, 1, 0};
  std::vector<float> vectors = {1, 0, 1, 0, 0, 1, 0, 1};

  Reasons reasons() const {
    return {.user = user, .item = item, .label = label, .vectors = vectors};
  }
};

bool anybody(int32_t) {
  return true;
}

float dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

std::span<const float> row(const std::vector<float>& vectors, size_t item) {
  return std::span(vectors).subspan(2 * item, 2);
}

TEST(ReasonedVectors, ItemsChosenForOneReasonAreClose) {
  const Told told;
  const auto vectors = reasoned_vectors(told.reasons(), 5, true, anybody);
  EXPECT_NEAR(dot(row(vectors, 1), row(vectors, 2)), 1, 1e-6);
  EXPECT_NEAR(dot(row(vectors, 1), row(vectors, 3)), -1, 1e-6);
  EXPECT_THAT(row(vectors, 0), Each(0.0F));
  EXPECT_THAT(row(vectors, 4), Each(0.0F));  // nothing was reasoned about it
}

TEST(ReasonedVectors, RefusalsCountOnlyIfAsked) {
  const Told told;
  const auto chosen = reasoned_vectors(told.reasons(), 5, true, anybody);
  const auto all = reasoned_vectors(told.reasons(), 5, false, anybody);
  EXPECT_LT(dot(row(all, 1), row(all, 2)), dot(row(chosen, 1), row(chosen, 2)) - 0.05F);
}

TEST(ReasonedVectors, OnlyCountedUsersShapeThem) {
  const Told told;
  const auto without =
      reasoned_vectors(told.reasons(), 5, true, [](int32_t user) { return user != 2; });
  EXPECT_THAT(row(without, 2), Each(0.0F));
}

TEST(ReasonedVectors, AreAPartOfTheSimilarityByTheirWeight) {
  const Told told;
  const std::vector<float> text = {0, 1, 1, 1, 1};
  const KnownItems known(5);
  RetrievalOptions options;
  options.reasons.weight = 0.25;
  options.collaborative.folds = 1;
  const ItemVectors vectors(known, {.item_text = text, .width = 1}, told.reasons(), options);
  ASSERT_EQ(vectors.folds(), 1);
  const Texts of = vectors.of_fold(0);
  ASSERT_EQ(of.width, 3);
  EXPECT_THAT(dot(of.row(1), of.row(2)), FloatNear(0.75F + 0.25F, 1e-6F));
  EXPECT_THAT(dot(of.row(1), of.row(3)), FloatNear(0.75F - 0.25F, 1e-6F));
  EXPECT_THAT(dot(of.row(1), of.row(4)), FloatNear(0.75F, 1e-6F));
}

// Nobody is compared by vectors that their own chains of thought shaped.
TEST(ReasonedVectors, AreCrossFitted) {
  Told told;
  const std::vector<float> text = {0, 1, 1, 1, 1};
  RetrievalOptions options;
  options.reasons.weight = 0.5;
  options.collaborative.folds = 3;
  const auto make = [&] {
    return ItemVectors(KnownItems(5), {.item_text = text, .width = 1}, told.reasons(), options);
  };
  const ItemVectors before = make();
  told.vectors[2] = 0;
  told.vectors[3] = 1;  // user 2 changes their mind
  const ItemVectors after = make();
  for (int64_t fold = 0; fold < 3; ++fold) {
    const auto a = before.of_fold(fold).item_text, b = after.of_fold(fold).item_text;
    if (fold == before.fold_of(2)) EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
  EXPECT_FALSE(std::equal(before.of_fold((before.fold_of(2) + 1) % 3).item_text.begin(),
                          before.of_fold((before.fold_of(2) + 1) % 3).item_text.end(),
                          after.of_fold((before.fold_of(2) + 1) % 3).item_text.begin()));
}

}  // namespace
}  // namespace llmcf::retrieval
