// What texts state of their rows.
#include "cot/grounding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llmcf::cot {
namespace {

Facts facts(std::string_view title, std::string_view brand, std::vector<Value> words, bool chosen) {
  Facts facts;
  facts.target = {.title = title,
                  .text = title,
                  .attributes = {{.name = "brand", .values = {{.text = brand}}}},
                  .words = std::move(words)};
  facts.decision = chosen;
  return facts;
}

std::vector<GroundedText> texts() {
  return {{facts("Argan Shampoo", "Acme", {{.text = "argan"}, {.text = "shampoo"}}, true),
           "Acme's argan oil fits, and the person chose it."},
          {facts("Steel Tweezers", "Toolco", {{.text = "steel"}, {.text = "tweezers"}}, false),
           "Tweezers are foreign to them; not chosen. Toolcorp is another brand."}};
}

TEST(Grounding, CountsWordsValuesAndDecisions) {
  const Grounding found = measure_grounding(texts());
  EXPECT_EQ(found.texts, 2);
  EXPECT_EQ(found.title_words.asked, 4);
  EXPECT_DOUBLE_EQ(found.title_words.share, 0.5);
  EXPECT_DOUBLE_EQ(found.fields.at("brand").share, 0.5);  // Toolcorp is not Toolco
  EXPECT_DOUBLE_EQ(found.decision.share, 1);
  EXPECT_DOUBLE_EQ(found.no_decision, 0);
}

TEST(Grounding, AnothersTextStatesNothingOfTheRow) {
  const Grounding found = measure_shuffled(texts());
  EXPECT_DOUBLE_EQ(found.title_words.share, 0);
  EXPECT_DOUBLE_EQ(found.fields.at("brand").share, 0);
  EXPECT_DOUBLE_EQ(found.decision.share, 0);
}

TEST(Grounding, ReadsDecisionsInBothDirections) {
  EXPECT_EQ(stated_decision("a weak match; it was not chosen."), false);
  EXPECT_EQ(stated_decision("enough for the person to choose it"), true);
  EXPECT_EQ(stated_decision("and it was passed over"), false);
  EXPECT_EQ(stated_decision("a fair match."), std::nullopt);
}

TEST(Grounding, NothingIsMeasuredOfNothing) {
  EXPECT_EQ(measure_grounding({}).texts, 0);
}

}  // namespace
}  // namespace llmcf::cot
