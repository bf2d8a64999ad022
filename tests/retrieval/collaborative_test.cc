// Vectors from the log and the search by folds.
#include "retrieval/collaborative.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "retrieval/random_world.h"

namespace llmcf::retrieval {
namespace {

using testing::World;

KnownItems known_of(const World& world) {
  KnownItems known;
  for (const auto& items : world.items)
    known.emplace_back(items);
  return known;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  const double ab = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  const double aa = std::inner_product(a.begin(), a.end(), a.begin(), 0.0);
  const double bb = std::inner_product(b.begin(), b.end(), b.begin(), 0.0);
  return ab / std::sqrt(aa * bb);
}

// Two circles of people who share no item: 1-6 and 7-12.
struct Circles {
  std::vector<std::vector<int32_t>> items = {{}};
  std::vector<float> text = std::vector<float>(13, 0.0F);  // width 1: says nothing

  Circles() {
    Random random(5, "tests.circles");
    for (int user = 0; user < 80; ++user) {
      const int first = user % 2 == 0 ? 1 : 7;
      std::vector<int32_t> all(6);
      std::iota(all.begin(), all.end(), first);
      random.shuffle(all);
      all.resize(4);
      items.push_back(all);
    }
  }
  KnownItems known() const { return {items.begin(), items.end()}; }
  Texts texts() const { return {.item_text = text, .width = 1}; }
};

RetrievalOptions weighing(double log, int64_t width, int64_t folds, int64_t seed = 1) {
  return {.seed = seed, .collaborative = {.weight = log, .width = width, .folds = folds}};
}

TEST(ItemVectors, ItemsOfTheSamePeopleAreCloseInEveryFold) {
  const Circles circles;
  const ItemVectors vectors(circles.known(), circles.texts(), {}, weighing(0.5, 2, 3));
  ASSERT_EQ(vectors.folds(), 3);
  for (int64_t fold = 0; fold < 3; ++fold) {
    const Texts of = vectors.of_fold(fold);
    EXPECT_GT(cosine(of.row(1), of.row(5)), 0.9) << fold;
    EXPECT_GT(cosine(of.row(8), of.row(12)), 0.9) << fold;
    EXPECT_LT(std::abs(cosine(of.row(2), of.row(9))), 0.1) << fold;
  }
}

TEST(ItemVectors, AUsersOwnItemsDoNotShapeTheVectorsThatUserIsComparedBy) {
  Circles circles;
  const RetrievalOptions options = weighing(0.5, 2, 3);
  const ItemVectors before(circles.known(), circles.texts(), {}, options);
  const int32_t user = 17;
  circles.items[static_cast<size_t>(user)] = {1, 12, 2, 11};  // a bridge between the circles
  const ItemVectors after(circles.known(), circles.texts(), {}, options);
  for (int64_t fold = 0; fold < 3; ++fold) {
    const auto a = before.of_fold(fold).item_text, b = after.of_fold(fold).item_text;
    EXPECT_EQ(std::equal(a.begin(), a.end(), b.begin(), b.end()), fold == before.fold_of(user))
        << fold;
  }
}

TEST(ItemVectors, SimilarityIsTheWeightedSumOfBothCosines) {
  Circles circles;
  circles.text = {0, 1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const auto dot = [&](double weight, int32_t a, int32_t b) {
    const ItemVectors vectors(circles.known(), circles.texts(), {}, weighing(weight, 2, 1));
    const Texts of = vectors.of_fold(0);
    return std::inner_product(of.row(a).begin(), of.row(a).end(), of.row(b).begin(), 0.0);
  };
  EXPECT_DOUBLE_EQ(dot(0, 1, 2), -1);  // the texts'
  const double log = dot(1, 1, 2);
  EXPECT_GT(log, 0.5);
  EXPECT_NEAR(dot(0.25, 1, 2), 0.75 * -1 + 0.25 * log, 1e-5);
}

TEST(ItemVectors, AnItemThatNobodyTookHasNoLogHalf) {
  Circles circles;
  circles.text.push_back(1);  // item 13
  const ItemVectors vectors(circles.known(), circles.texts(), {}, weighing(0.5, 2, 2));
  EXPECT_THAT(vectors.of_fold(1).row(13), ::testing::ElementsAre(std::sqrt(0.5F), 0, 0));
}

TEST(AssignByFold, ComparesEveryQueryByItsOwnFoldsVectors) {
  const World world({.users = 40, .items = 25, .examples = 200, .queries = 150}, 3);
  const ItemVectors vectors(known_of(world), world.texts(), {}, weighing(0.6, 4, 3, 9));
  const RetrievalOptions options{.k = 6, .normalize = true};
  const Queries queries = world.rows.queries();
  const std::vector<Queries> parts = {queries, queries};
  const auto found =
      assign_by_fold(world.examples.pool(), parts, vectors, world.histories(), options);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].ids, found[1].ids);
  int64_t differing = 0;
  for (int64_t fold = 0; fold < 3; ++fold) {
    const Assignment whole =
        assign(world.examples.pool(), queries, vectors.of_fold(fold), world.histories(), options);
    for (int64_t row = 0; row < queries.size(); ++row) {
      const bool own = vectors.fold_of(queries.user[static_cast<size_t>(row)]) == fold;
      const bool same = std::ranges::equal(whole.ids_of(row), found[0].ids_of(row)) &&
                        std::ranges::equal(whole.similarity_of(row), found[0].similarity_of(row));
      if (own) {
        ASSERT_TRUE(same) << row;
      }
      differing += same ? 0 : 1;
    }
  }
  EXPECT_GT(differing, 0);  // else this test says nothing
}

TEST(AssignByFold, NormalisedHistoriesHaveSimilaritiesOfUnitVectors) {
  const World world({.users = 40, .items = 25, .examples = 200, .queries = 150}, 3);
  const RetrievalOptions options{.k = 4, .normalize = true};
  const Assignment found = assign(world.examples.pool(), world.rows.queries(), world.texts(),
                                  world.histories(), options);
  std::vector<float> means(static_cast<size_t>(world.examples.user.size()) * 8);
  history_mean(world.histories(), world.texts(), world.examples.user, world.examples.position, 0,
               means);
  std::vector<float> own(static_cast<size_t>(world.rows.user.size()) * 8);
  history_mean(world.histories(), world.texts(), world.rows.user, world.rows.position, 0, own);
  int64_t checked = 0;
  for (size_t slot = 0; slot < found.ids.size(); ++slot) {
    if (found.ids[slot] < 0) continue;
    const auto example = std::span(means).subspan(static_cast<size_t>(found.ids[slot]) * 8, 8);
    const auto query = std::span(own).subspan(slot / 4 * 8, 8);
    if (world.rows.position[slot / 4] == 0 ||
        world.examples.position[static_cast<size_t>(found.ids[slot])] == 0)
      continue;
    const double expected = cosine(query, example);
    if (std::isnan(expected)) continue;
    EXPECT_NEAR(found.history_similarity[slot], expected, 1e-5);
    ++checked;
  }
  EXPECT_GT(checked, 100);
}

}  // namespace
}  // namespace llmcf::retrieval
