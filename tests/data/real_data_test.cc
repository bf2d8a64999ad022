// Published data sets, where they are at hand: the counts everybody knows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/fixture.h"
#include "data/rows.h"
#include "shared_data.h"

namespace llmcf::data {
namespace {

using ::testing::HasSubstr;

Dataset import_shared(Workshop& shop, const std::string& format, const std::string& name) {
  ImportOptions options;
  options.format = format;
  options.path = testing::shared_directory() / "data" / name;
  return shop.import(options);
}

TEST(RealData, AmazonBeauty) {
  LLMCF_REQUIRE_PATH(testing::shared_directory() / "data" / "amazon-beauty");
  Workshop shop;
  const Dataset dataset = import_shared(shop, "tsv", "amazon-beauty");
  EXPECT_EQ(dataset.name(), "amazon-beauty");
  EXPECT_EQ(dataset.num_users(), 22363);
  EXPECT_EQ(dataset.num_items(), 12101);
  EXPECT_EQ(dataset.num_events(), 198502);
  EXPECT_EQ(dataset.item_name(1), "7806397051");
  EXPECT_EQ(dataset.item_text(1),
            "title: WAWO 15 Color Professionl Makeup Eyeshadow Camouflage Facial Concealer Neutral "
            "Palette; brand: COKA; category: Makeup, Face, Concealers & Neutralizers");
  EXPECT_EQ(dataset.user_name(1), "A1YJEY40YUW4SE");

  write_rows(dataset, {}, shop.path("rows.safetensors"));
  const RowSet rows(shop.path("rows.safetensors"));
  EXPECT_EQ(rows.train().size(), 2 * 131413);
  EXPECT_EQ(rows.rows(Split::kValid).size(), 2 * 22363);
  EXPECT_EQ(rows.rows(Split::kTest).size(), 2 * 22363);

  // It is published as a 5-core: filtering again changes nothing.
  ImportOptions options;
  options.format = "tsv";
  options.path = testing::shared_directory() / "data" / "amazon-beauty";
  options.k_core = 5;
  options.deduplicate = true;
  EXPECT_EQ(shop.import(options).num_events(), 198502);
}

TEST(RealData, MovieLens100K) {
  LLMCF_REQUIRE_PATH(testing::shared_directory() / "data" / "movielens-100k");
  Workshop shop;
  const Dataset dataset = import_shared(shop, "movielens", "movielens-100k");
  EXPECT_EQ(dataset.num_users(), 943);
  EXPECT_EQ(dataset.num_items(), 1682);
  EXPECT_EQ(dataset.num_events(), 100000);
  EXPECT_EQ(dataset.event_rating().size(), 100000U);
  EXPECT_EQ(dataset.find_field("genres")->vocabulary_size(), 20);
  EXPECT_EQ(dataset.find_field("gender")->vocabulary_size(), 3);
  EXPECT_EQ(dataset.find_field("occupation")->vocabulary_size(), 22);
  EXPECT_EQ(dataset.find_field("age")->vocabulary_size(), 8);
  EXPECT_EQ(dataset.item_text(1),
            "title: Toy Story; genres: Animation, Children's, Comedy; year: 1995");
}

TEST(RealData, MovieLensLatestSmall) {
  LLMCF_REQUIRE_PATH(testing::shared_directory() / "data" / "movielens-latest-small");
  Workshop shop;
  const Dataset dataset = import_shared(shop, "movielens", "movielens-latest-small");
  EXPECT_EQ(dataset.num_users(), 671);
  EXPECT_EQ(dataset.num_items(), 9125);
  EXPECT_EQ(shop.summary.untouched_items, 9125 - 9066);
  EXPECT_EQ(dataset.num_events(), 100004);
  EXPECT_EQ(dataset.item_text(1),
            "title: Toy Story (1995); genres: Adventure, Animation, Children, Comedy, Fantasy; "
            "year: 1995");
}

}  // namespace
}  // namespace llmcf::data
