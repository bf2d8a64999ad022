// Approximate lists against the exact ones: equal where everything is probed, close where the
// catalogue has clusters, and never with an item or a score that the exact index would not give.
#include "retrieval/approximate_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "core/threads.h"

namespace llmcf::retrieval {
namespace {

using ::testing::Each;

constexpr int64_t kItems = 6000, kWidth = 16, kQueries = 300, kClusters = 40;

// Rows around `kClusters` centres; row 0 would win every list if it were an item.
std::vector<float> clustered(int64_t rows, uint64_t seed) {
  Random centre_random(7, "centres"), random(seed, "rows");
  std::vector<float> centres, values;
  for (int64_t i = 0; i < kClusters * kWidth; ++i)
    centres.push_back(static_cast<float>(centre_random.normal()));
  for (int64_t row = 0; row < rows; ++row) {
    const auto centre = static_cast<int64_t>(random.below(kClusters));
    for (int64_t d = 0; d < kWidth; ++d)
      values.push_back(row == 0 ? 100.0F
                                : centres[static_cast<size_t>(centre * kWidth + d)] +
                                      0.4F * static_cast<float>(random.normal()));
  }
  return values;
}

class Approximate : public ::testing::Test {
 protected:
  const ItemIndex exact_{clustered(kItems + 1, 1), kWidth};
  const std::vector<float> queries_ = clustered(kQueries, 2);
  const std::vector<int32_t> seen_ = {3, 1, 3, 2000, 5999};
  const SeenItems seen_by_all_ = [this](int64_t) { return std::span<const int32_t>(seen_); };
};

TEST_F(Approximate, IsExactWhereEverythingIsProbed) {
  const ApproximateItems items(exact_, {.lists = 10, .probes = 10, .surplus = kItems});
  for (const SeenItems& seen : {SeenItems(), seen_by_all_}) {
    const BestItems want = exact_.best(queries_, 20, seen), got = items.best(queries_, 20, seen);
    EXPECT_EQ(got.items, want.items);
    EXPECT_EQ(got.scores, want.scores);
    EXPECT_EQ(recall(want, got), 1);
  }
}

TEST_F(Approximate, ListsAreOrderedScoredExactlyAndWithoutWhatWasSeen) {
  const ApproximateItems items(exact_, {.probes = 2});
  const BestItems got = items.best(queries_, 10, seen_by_all_);
  for (size_t i = 0; i < got.items.size(); ++i) {
    if (got.items[i] == 0) continue;
    EXPECT_EQ(std::count(seen_.begin(), seen_.end(), got.items[i]), 0);
    const auto query = static_cast<int64_t>(i) / got.k;
    EXPECT_EQ(got.scores[i], exact_.score(queries_.data() + query * kWidth, got.items[i]));
    if (i % 10 > 0) {
      EXPECT_LE(got.scores[i], got.scores[i - 1]);
    }
  }
}

TEST_F(Approximate, FindsMoreWithMoreProbes) {
  const BestItems want = exact_.best(queries_, 10);
  double last = 0;
  ApproximateItems items(exact_, {.lists = 128});
  for (const int64_t probes : {1, 8, 64}) {
    items.set_probes(probes);
    const double found = recall(want, items.best(queries_, 10));
    EXPECT_GE(found, last);
    last = found;
  }
  EXPECT_GT(last, 0.99);
  items.set_probes(1);
  EXPECT_LT(recall(want, items.best(queries_, 10)), 0.95) << "one cell cannot hold them all";
  EXPECT_THROW(items.set_probes(129), Error);
}

TEST_F(Approximate, IsTheSameTwice) {
  const ApproximateItems one(exact_, {}), two(exact_, {});
  EXPECT_EQ(one.best(queries_, 10).items, two.best(queries_, 10).items);
}

TEST(ApproximateItems, ServesASmallCatalogueAndAListLongerThanIt) {
  const std::vector<float> vectors = {9, 9, 1, 0, 0, 1, 2, 0};  // three items
  const ItemIndex exact(vectors, 2);
  const ApproximateItems items(exact, {});
  EXPECT_THAT(items.best(std::vector<float>{1, 0}, 5).items, ::testing::ElementsAre(3, 1, 2, 0, 0));
  const std::vector<int32_t> all = {1, 2, 3};
  const BestItems none = items.best(std::vector<float>{1, 0}, 2,
                                    [&](int64_t) { return std::span<const int32_t>(all); });
  EXPECT_THAT(none.items, Each(0));
  EXPECT_THAT(none.scores, Each(0));
}

TEST(ApproximateItems, RefusesWhatDoesNotFit) {
  const std::vector<float> vectors = {0, 0, 1, 1, 2, 2};
  const ItemIndex exact(vectors, 2);
  EXPECT_THROW(ApproximateItems(exact, {.lists = 3}), Error);
  EXPECT_THROW(ApproximateItems(exact, {.lists = 1, .probes = 2}), Error);
  EXPECT_THROW(ApproximateItems(exact, {.surplus = 0}), Error);
  const ApproximateItems items(exact, {});
  EXPECT_THROW(items.best(std::vector<float>{1}, 1), Error);
  EXPECT_THROW(items.best(std::vector<float>{1, 0}, 0), Error);
  EXPECT_THROW(recall(BestItems(1, 2), BestItems(1, 3)), Error);
}

}  // namespace
}  // namespace llmcf::retrieval
