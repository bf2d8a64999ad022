// The sample shop: what it promises to hold.
#include "data/sample.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/fixture.h"
#include "data/rows.h"
#include "data/sample_words.h"

namespace llmcf::data {
namespace {

ImportOptions shop_at(const std::filesystem::path& directory) {
  ImportOptions options;
  options.schema_file = directory / "schema.yaml";
  return options;
}

TEST(Sample, IsReadByTheTableFormat) {
  Workshop shop;
  write_sample({.users = 300, .items = 200}, shop.path("shop"));
  const Dataset dataset = shop.import(shop_at(shop.path("shop")));
  EXPECT_EQ(dataset.num_users(), 300);
  EXPECT_EQ(dataset.num_items(), 200);
  EXPECT_NEAR(static_cast<double>(dataset.num_events()) / 300, 10, 2.5);
  EXPECT_GT(dataset.find_field("brand")->vocabulary_size(), 5);
  EXPECT_EQ(values_of(dataset, "category", 1), "Skin Care,Moisturizers");
  EXPECT_THAT(std::string(dataset.item_text(1)), ::testing::HasSubstr("; description: "));
  write_rows(dataset, {}, shop.path("rows"));
  EXPECT_EQ(RowSet(shop.path("rows")).rows(Split::kTest).size(), 600);
}

TEST(Sample, SeedDecidesTheBytes) {
  Workshop shop;
  const auto files = [&](int64_t seed) {
    write_sample({.users = 50, .items = 60, .seed = seed}, shop.path("shop"));
    return read_file(shop.path("shop/interactions.tsv")) + read_file(shop.path("shop/items.tsv"));
  };
  const std::string first = files(1);
  EXPECT_TRUE(first == files(1));
  EXPECT_FALSE(first == files(2));
}

TEST(Sample, TitlesDiffer) {
  Workshop shop;
  write_sample({.users = 10, .items = 3000}, shop.path("shop"));
  const Dataset dataset = shop.import(shop_at(shop.path("shop")));
  std::set<std::string_view> titles;
  for (int64_t item = 1; item <= dataset.num_items(); ++item)
    EXPECT_TRUE(titles.insert(dataset.item_title(item)).second) << dataset.item_title(item);
}

// The planted signal: what a user buys uses the words of what they bought, across categories.
TEST(Sample, WordsTellPurchasesFromOtherItems) {
  Workshop shop;
  write_sample({.users = 400, .items = 1500}, shop.path("shop"));
  const Dataset dataset = shop.import(shop_at(shop.path("shop")));
  write_rows(dataset, {.seed = 1}, shop.path("rows"));
  const RowSet set(shop.path("rows"));
  const Rows& rows = set.rows(Split::kTest);
  const auto scent = [&](int32_t item) {
    for (size_t value = 0; value < words::kScents.size(); ++value) {
      for (const std::string_view sentence : words::kScents[value].in_sentence) {
        if (dataset.item_text(item).find(sentence) != std::string_view::npos) return value;
      }
    }
    ADD_FAILURE() << "no scent in: " << dataset.item_text(item);
    return words::kScents.size();
  };
  double score[2] = {0, 0};
  for (size_t row = 0; row < rows.user.size(); ++row) {
    const auto history = set.history(rows.user[row], rows.position[row]);
    double same = 0;
    for (const int32_t item : history)
      same += scent(item) == scent(rows.item[row]);
    score[rows.label[row] > 0] += same / static_cast<double>(history.size());
  }
  EXPECT_GT(score[1], 1.6 * score[0]);
}

TEST(Sample, HasALongTailAndColdItems) {
  Workshop shop;
  write_sample({}, shop.path("shop"));
  const Dataset dataset = shop.import(shop_at(shop.path("shop")));
  EXPECT_NEAR(static_cast<double>(dataset.num_events()), 30000, 3000);
  write_rows(dataset, {}, shop.path("rows"));
  const RowSet set(shop.path("rows"));
  const auto counts = set.item_train_count();
  std::vector<int32_t> sorted(counts.begin() + 1, counts.end());
  std::sort(sorted.rbegin(), sorted.rend());
  const double total = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  EXPECT_GT(std::accumulate(sorted.begin(), sorted.begin() + 200, 0.0) / total, 0.25);
  int64_t rare = 0;
  for (const int32_t count : sorted)
    rare += count <= 3;
  EXPECT_GT(rare, 200);
}

TEST(Sample, RefusesAShopWithoutShelves) {
  EXPECT_THAT(error_of([] { write_sample({.items = 3}, "/nowhere"); }),
              ::testing::HasSubstr("at least 1 user and 24 items"));
}

}  // namespace
}  // namespace llmcf::data
