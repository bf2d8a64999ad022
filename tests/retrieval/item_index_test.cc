// Ranks and lists of the item index against a sort of all scores.
#include "retrieval/item_index.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "core/threads.h"

namespace llmcf::retrieval {
namespace {

using ::testing::ElementsAre;

// Values out of few, so that scores tie.
std::vector<float> coarse(int64_t rows, int64_t width, uint64_t seed) {
  Random random(seed, "coarse");
  std::vector<float> values;
  for (int64_t i = 0; i < rows * width; ++i)
    values.push_back(static_cast<float>(random.below(5)) - 2);
  return values;
}

// Items by descending score, ties by id.
std::vector<int32_t> sorted_items(const std::vector<float>& items, const float* query,
                                  int64_t width) {
  const auto count = static_cast<int32_t>(static_cast<int64_t>(items.size()) / width) - 1;
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 1);
  const auto score = [&](int32_t item) {
    return std::inner_product(query, query + width, items.data() + item * width, 0.0F);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return score(a) > score(b); });
  return order;
}

class ItemIndexSizes : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t>> {};

TEST_P(ItemIndexSizes, RanksAndListsAreThoseOfASort) {
  const auto [Q, I, D] = GetParam();
  const auto items = coarse(I + 1, D, 1), queries = coarse(Q, D, 2);
  Random random(3, "targets");
  std::vector<int32_t> targets;
  std::vector<std::vector<int32_t>> seen(static_cast<size_t>(Q));
  for (auto& list : seen) {
    targets.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(I))) + 1);
    for (uint64_t i = random.below(6); i > 0; --i)
      list.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(I))) + 1);
    if (!list.empty()) list.push_back(list.front());           // twice
    if (random.below(2) == 0) list.push_back(targets.back());  // the target was seen before
  }
  const SeenItems of = [&](int64_t query) {
    return std::span<const int32_t>(seen[static_cast<size_t>(query)]);
  };
  const ItemIndex index(items, D);
  const TargetRanks ranks = index.ranks(queries, targets, of);
  constexpr int64_t kBest = 7;
  const BestItems all = index.best(queries, kBest), unseen = index.best(queries, kBest, of);
  for (int64_t q = 0; q < Q; ++q) {
    const auto at = static_cast<size_t>(q);
    auto order = sorted_items(items, queries.data() + q * D, D);
    const auto rank_in = [&](const std::vector<int32_t>& list) {
      return std::find(list.begin(), list.end(), targets[at]) - list.begin();
    };
    const auto list_of = [&](const BestItems& best) {
      std::vector<int32_t> list(best.items.begin() + q * kBest,
                                best.items.begin() + (q + 1) * kBest);
      return list;
    };
    const auto head = [&](std::vector<int32_t> list) {
      list.resize(kBest, 0);
      return list;
    };
    EXPECT_EQ(ranks.all[at], rank_in(order));
    EXPECT_EQ(list_of(all), head(order));
    auto without = order, rest = order;
    std::erase_if(rest, [&](int32_t item) {
      return std::find(seen[at].begin(), seen[at].end(), item) != seen[at].end();
    });
    std::erase_if(without, [&](int32_t item) {
      return item != targets[at] &&
             std::find(seen[at].begin(), seen[at].end(), item) != seen[at].end();
    });
    EXPECT_EQ(ranks.unseen[at], rank_in(without));
    EXPECT_EQ(list_of(unseen), head(rest));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ItemIndexSizes,
                         ::testing::Values(std::tuple(1, 1, 1), std::tuple(3, 5, 2),
                                           std::tuple(13, 33, 3), std::tuple(200, 1100, 8),
                                           std::tuple(193, 512, 4), std::tuple(7, 513, 64)));

TEST(ItemIndex, DoesNotDependOnThreads) {
  const auto items = coarse(2001, 16, 4), queries = coarse(500, 16, 5);
  const std::vector<int32_t> targets(500, 77);
  const ItemIndex index(items, 16);
  const int before = thread_count();
  set_thread_count(1);
  const auto one = index.ranks(queries, targets, {}).all;
  const auto best = index.best(queries, 5).items;
  set_thread_count(4);
  EXPECT_EQ(index.ranks(queries, targets, {}).all, one);
  EXPECT_EQ(index.best(queries, 5).items, best);
  set_thread_count(before);
}

TEST(ItemIndex, RefusesWhatDoesNotFit) {
  const std::vector<float> items = {0, 0, 1, 1, 2, 2};
  const ItemIndex index(items, 2);
  const std::vector<float> query = {1, 0};
  EXPECT_THROW(ItemIndex(std::span(items).first(5), 2), Error);
  EXPECT_THROW(index.ranks(std::vector<float>{1}, std::vector<int32_t>{1}, {}), Error);
  EXPECT_THROW(index.ranks(query, std::vector<int32_t>{3}, {}), Error);
  EXPECT_THROW(index.ranks(query, std::vector<int32_t>{1, 2}, {}), Error);
  EXPECT_THROW(index.ranks(std::vector<float>{std::nanf(""), 0}, std::vector<int32_t>{1}, {}),
               Error);
  EXPECT_THROW(index.best(query, 0), Error);
  EXPECT_THAT(index.best(query, 3).items, ElementsAre(2, 1, 0));
}

}  // namespace
}  // namespace llmcf::retrieval
