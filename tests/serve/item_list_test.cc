// Lists of a sequence bundle: those of the exact index, whatever is hidden, and k items wherever k
// are left, with an approximate index too.
#include "serve/item_list.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "retrieval/item_index.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kWidth = 8;

class ItemListTest : public ::testing::Test {
 protected:
  void make(int64_t items) {
    items_ = items;
    write_toy_bundle({.items = items, .embed_dim = kWidth, .context = "none", .backbone = "sasrec"},
                     file());
    bundle_ = std::make_unique<Bundle>(file());
    index_ = std::make_unique<retrieval::ItemIndex>(
        bundle_->weight("tables.item_id").first(static_cast<size_t>((items + 1) * kWidth)), kWidth);
    hidden_.assign(static_cast<size_t>(items) + 1, 0);
  }
  std::filesystem::path file() const { return directory_.path() / "toy.bundle"; }

  std::vector<float> state(uint64_t seed) const {
    Random random(seed, "state");
    std::vector<float> values(kWidth);
    for (float& value : values)
      value = static_cast<float>(random.normal());
    return values;
  }
  // What the exact index lists.
  RankedItems expected(std::span<const float> state, int64_t k) const {
    std::vector<int32_t> left_out;
    for (size_t row = 0; row < hidden_.size(); ++row)
      if (hidden_[row] != 0) left_out.push_back(static_cast<int32_t>(row));
    const auto best =
        index_->best(state, k, [&](int64_t) { return std::span<const int32_t>(left_out); });
    RankedItems result;
    for (size_t i = 0; i < best.items.size() && best.items[i] != 0; ++i) {
      result.rows.push_back(best.items[i]);
      result.scores.push_back(best.scores[i]);
    }
    return result;
  }
  void expect_equal(const ItemList& list, int64_t k) {
    const auto vector = state(static_cast<uint64_t>(k));
    const RankedItems found = list.best(vector.data(), k, hidden_, arena_);
    const RankedItems wanted = expected(vector, k);
    EXPECT_EQ(found.rows, wanted.rows) << k;
    EXPECT_EQ(found.scores, wanted.scores) << k;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Bundle> bundle_;
  std::unique_ptr<retrieval::ItemIndex> index_;
  std::vector<char> hidden_;
  ScratchArena arena_;
  int64_t items_ = 0;
};

TEST_F(ItemListTest, ListsWhatTheExactIndexLists) {
  for (const int64_t items : {1, 31, 32, 33, 4096, 4097, 9001}) {
    make(items);
    const ItemList list(*bundle_, {});
    for (const int64_t k : {1, 7, 100, 20000})
      expect_equal(list, k);
  }
}

TEST_F(ItemListTest, HidesBeforeTheCut) {
  make(5000);
  const ItemList list(*bundle_, {});
  Random random(3, "hidden");
  for (const uint64_t left : {4900, 500, 12, 0}) {
    for (char& hidden : hidden_)
      hidden = random.below(5000) < left ? 0 : 1;
    expect_equal(list, 20);
  }
}

TEST_F(ItemListTest, EqualScoresComeInTheOrderOfTheirRows) {
  make(300);
  const ItemList list(*bundle_, {});
  const std::vector<float> nothing(kWidth, 0.0F);
  const RankedItems found = list.best(nothing.data(), 40, hidden_, arena_);
  ASSERT_EQ(found.rows.size(), 40U);
  for (size_t i = 0; i < found.rows.size(); ++i)
    EXPECT_EQ(found.rows[i], static_cast<int32_t>(i) + 1);
}

TEST_F(ItemListTest, ScoresSingleItemsAsListsDo) {
  make(700);
  const ItemList list(*bundle_, {});
  const auto vector = state(9);
  const RankedItems all = list.best(vector.data(), 700, hidden_, arena_);
  std::vector<float> scores(all.rows.size());
  list.score(vector.data(), all.rows, arena_, scores);
  EXPECT_EQ(scores, all.scores);
}

TEST_F(ItemListTest, AnApproximateIndexFillsEveryListItCan) {
  make(8000);
  const ItemList list(*bundle_, {.approximate = true, .probes = 1});
  const auto vector = state(5);
  const RankedItems quick = list.best(vector.data(), 10, hidden_, arena_);
  const RankedItems exact = expected(vector, 10);
  ASSERT_EQ(quick.rows.size(), 10U);
  EXPECT_NE(quick.rows, exact.rows) << "one cell of many holds all of the best: nothing is tested";
  std::vector<float> scores(10);
  list.score(vector.data(), quick.rows, arena_, scores);
  EXPECT_EQ(scores, quick.scores);
  // A cell does not hold as many, or next to nothing is left: the exact list.
  expect_equal(list, 7000);
  std::fill(hidden_.begin(), hidden_.end(), 1);
  for (const size_t row : {5, 4000, 7999})
    hidden_[row] = 0;
  expect_equal(list, 10);
}

TEST_F(ItemListTest, OptionsAreReadStrictly) {
  const auto from = [](const char* yaml) { return ItemListOptions::from(Config::parse(yaml)); };
  EXPECT_FALSE(from("").approximate);
  EXPECT_EQ(from("{index: approximate, probes: 9}").probes, 9);
  const auto error_of = [&](const char* yaml) {
    try {
      from(yaml);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error_of("{index: aproximate}"), HasSubstr("approximate"));
  EXPECT_THAT(error_of("{probes: 4}"), HasSubstr("index: approximate"));
  EXPECT_THAT(error_of("{prbes: 4}"), HasSubstr("probes"));
  make(100);
  EXPECT_THROW(ItemList(*bundle_, {.approximate = true, .probes = 100000}), Error);
}

}  // namespace
}  // namespace llmcf::serve
