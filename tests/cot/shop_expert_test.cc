// What the expert of the sample shop's world reads and says.
#include "cot/shop_expert.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/sample_world.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Two brands of one pursuit, one of its companion, one of another pursuit.
struct World {
  std::vector<std::string> of(size_t pursuit) const {
    std::vector<std::string> found;
    for (const std::string& brand : brands)
      if (data::pursuit_of_brand(brand) == pursuit) found.push_back(brand);
    return found;
  }
  std::vector<std::string> brands = data::world_brands();
};

ItemFacts item(std::string_view title, std::string_view brand) {
  return {.title = title,
          .text = title,
          .attributes = {{.name = "brand", .values = {{.text = brand, .share = 0.01}}}},
          .words = {}};
}

class ShopExpertTest : public ::testing::Test {
 protected:
  ShopExpertTest() {
    facts.history = {item("Bergamot Shower Gel, 50 ml", swimming[0]),
                     item("Clinical Lemon Zest Hair Oil, 50 ml", swimming[1])};
    facts.history_length = 2;
    facts.decision = true;
  }
  World world;
  std::vector<std::string> swimming = world.of(0), sauna = world.of(1), theatre = world.of(2);
  Facts facts;
};

TEST_F(ShopExpertTest, ReadsPursuitAndTasteThatNoWordNames) {
  facts.target = item("Grapefruit Lip Balm, 30 ml", sauna[0]);
  const std::string text = shop_expert_text(facts, 3);
  EXPECT_THAT(text, HasSubstr("open-water swimming"));
  EXPECT_THAT(text, HasSubstr("sauna goers"));
  EXPECT_THAT(text, HasSubstr("citrus scents"));
  EXPECT_THAT(text, HasSubstr("Grapefruit Lip Balm, 30 ml"));
  EXPECT_THAT(text, HasSubstr("chose"));
}

TEST_F(ShopExpertTest, CompanionsMatchAndStrangersDoNot) {
  const ShopReading reading = read_history(facts);
  ASSERT_TRUE(reading.pursuit);
  EXPECT_EQ(*reading.pursuit, 0U);
  EXPECT_DOUBLE_EQ(shop_match(reading, item("Soap", swimming[5])), 0.4);
  EXPECT_DOUBLE_EQ(shop_match(reading, item("Soap", sauna[5])), 0.4);
  EXPECT_DOUBLE_EQ(shop_match(reading, item("Soap", theatre[5])), 0);
  EXPECT_DOUBLE_EQ(shop_match(reading, item("Sweet Orange Soap", theatre[5])), 0.2);
}

TEST_F(ShopExpertTest, SaysNothingOfPursuitsAboutOtherWorlds) {
  facts.history = {item("Steel Tweezers", "Toolco"), item("Steel Scissors", "Toolco")};
  facts.target = item("Steel File", "Toolco");
  const std::string text = shop_expert_text(facts, 1);
  for (const data::Pursuit& pursuit : data::pursuits())
    EXPECT_THAT(text, Not(HasSubstr(std::string(pursuit.name))));
  EXPECT_FALSE(read_history(facts).pursuit);
}

TEST_F(ShopExpertTest, PartsAndDecisionAreKept) {
  facts.target = item("Soap", theatre[0]);
  Parts parts;
  parts.wanted = {false, false, true, false};
  EXPECT_THAT(shop_expert_text(facts, 1, parts), Not(HasSubstr("swear by")));
  facts.decision.reset();
  for (uint64_t seed = 0; seed < 10; ++seed)
    EXPECT_THAT(shop_expert_text(facts, seed), Not(HasSubstr("chose")));
}

TEST(SampleWorld, DealsBrandsEvenlyAndCompanionsAreMutual) {
  std::array<int, data::kPursuits> counts{};
  for (const std::string& brand : data::world_brands())
    ++counts[data::pursuit_of_brand(brand).value()];
  for (const int count : counts)
    EXPECT_EQ(count, 50);
  for (size_t index = 0; index < data::kPursuits; ++index) {
    const size_t companion = data::pursuits()[index].companion;
    EXPECT_NE(companion, index);
    EXPECT_EQ(data::pursuits()[companion].companion, index);
  }
  EXPECT_FALSE(data::pursuit_of_brand("Nobody & Co"));
}

// No word of a name gives the pursuit away: brands that share a first word spread over many.
TEST(SampleWorld, NamesDoNotTellThePursuit) {
  std::map<std::string, std::set<size_t>> by_first;
  for (const std::string& brand : data::world_brands())
    by_first[brand.substr(0, brand.find(' '))].insert(data::pursuit_of_brand(brand).value());
  for (const auto& [first, found] : by_first)
    EXPECT_GE(found.size(), 6U) << first;
}

}  // namespace
}  // namespace llmcf::cot
