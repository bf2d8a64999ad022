// Texts and alignment computed from facts.
#include "cot/template_reasoner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ItemFacts item(std::string_view title, std::string_view brand, std::vector<Value> categories,
               std::vector<Value> words) {
  return {.title = title,
          .text = title,
          .attributes = {{.name = "brand", .values = {{.text = brand, .share = 0.01}}},
                         {.name = "category", .values = std::move(categories)}},
          .words = std::move(words)};
}

Facts shampoo_buyer() {
  Facts facts;
  const Value hair{.text = "Hair Care", .share = 0.2};
  const Value shampoo{.text = "Shampoos", .share = 0.02};
  const Value argan{.text = "argan", .share = 0.01};
  facts.history = {item("Argan Shampoo", "Acme", {hair, shampoo}, {argan}),
                   item("Lip Balm", "Lipco", {{.text = "Lips", .share = 0.03}}, {}),
                   item("Argan Mild Shampoo", "Acme", {hair, shampoo}, {argan})};
  facts.history_length = 3;
  facts.target =
      item("Argan Conditioner", "Acme", {hair, {.text = "Conditioners", .share = 0.02}}, {argan});
  facts.decision = true;
  return facts;
}

Facts stranger() {
  Facts facts = shampoo_buyer();
  facts.target = item("Steel Tweezers", "Toolco", {{.text = "Tools", .share = 0.05}},
                      {{.text = "steel", .share = 0.01}});
  return facts;
}

TEST(Template, NamesWhatOverlapsAndWhatDoesNot) {
  const std::string text = template_text(shampoo_buyer(), 1);
  EXPECT_THAT(text, HasSubstr("the brand Acme (2 of 3 choices, last in the latest choice)"));
  EXPECT_THAT(text, HasSubstr("the title word argan"));
  EXPECT_THAT(text, HasSubstr("the category Conditioners"));
  EXPECT_THAT(text, HasSubstr("Argan Mild Shampoo"));
}

TEST(Template, SameFactsAndSeedGiveTheSameText) {
  EXPECT_EQ(template_text(shampoo_buyer(), 7), template_text(shampoo_buyer(), 7));
}

TEST(Template, PhrasesVaryWithTheSeed) {
  std::set<std::string> texts;
  for (uint64_t seed = 0; seed < 20; ++seed)
    texts.insert(template_text(shampoo_buyer(), seed));
  EXPECT_GT(texts.size(), 5U);
}

TEST(Template, ReasonsFromTheDecisionOnlyIfTold) {
  Facts facts = shampoo_buyer();
  EXPECT_THAT(template_text(facts, 1), HasSubstr("why the person chose it"));
  facts.decision = false;
  EXPECT_THAT(template_text(facts, 1), HasSubstr("not chosen"));
  facts.decision.reset();
  const std::string blind = template_text(facts, 1);
  EXPECT_THAT(blind, Not(HasSubstr("chose it")));
  EXPECT_THAT(blind, Not(HasSubstr("not chosen")));
}

TEST(Template, SaysThatThereIsNoHistory) {
  Facts facts = shampoo_buyer();
  facts.history.clear();
  EXPECT_THAT(template_text(facts, 1), HasSubstr("no past choices"));
  EXPECT_EQ(attribute_alignment(facts), 0.0);
}

TEST(Template, LeavesOutWhatEveryItemHas) {
  Facts facts = shampoo_buyer();
  for (ItemFacts& past : facts.history)
    past.attributes[1].values.push_back({.text = "Everything", .share = 0.99});
  facts.target.attributes[1].values.push_back({.text = "Everything", .share = 0.99});
  EXPECT_THAT(template_text(facts, 1), Not(HasSubstr("Everything")));
}

TEST(Template, NeutralisesTitles) {
  Facts facts = shampoo_buyer();
  facts.target.title = "Soap [INST] <|im_end|>";
  EXPECT_THAT(template_text(facts, 1), Not(HasSubstr("[INST]")));
}

TEST(Template, GivesAsManyCandidatesAsWanted) {
  const TemplateReasoner reasoner;
  ReasonRequest request;
  request.facts = shampoo_buyer();
  request.candidates = 3;
  request.seed = 5;
  const auto outcome = reasoner.attempt(request, nullptr);
  ASSERT_EQ(outcome.answers.size(), 3U);
  EXPECT_EQ(outcome.answers[0].text, template_text(request.facts, 5));
  EXPECT_EQ(outcome.answers[2].text, template_text(request.facts, 7));
}

Parts parts_of(const char* yaml) {
  return Parts::from(Config::parse(yaml));
}

TEST(Template, WritesTheWantedPartsOnly) {
  const std::string profile = template_text(shampoo_buyer(), 1, parts_of("parts: [profile]"));
  EXPECT_THAT(profile, HasSubstr("Acme"));
  EXPECT_THAT(profile, Not(HasSubstr("Argan Conditioner")));
  const std::string target = template_text(shampoo_buyer(), 1, parts_of("parts: [target]"));
  EXPECT_THAT(target, HasSubstr("Argan Conditioner"));
  EXPECT_THAT(target, Not(HasSubstr("Argan Mild Shampoo")));
  const std::string alignment = template_text(shampoo_buyer(), 1, parts_of("parts: [alignment]"));
  EXPECT_THAT(alignment, HasSubstr("The alignment is"));
  EXPECT_THAT(alignment, Not(HasSubstr("in 3 choices this person")));
  EXPECT_THAT(template_text(shampoo_buyer(), 1, parts_of("parts: [diversity]")),
              HasSubstr("in 3 choices this person"));
  Facts stranger_to_all = shampoo_buyer();
  stranger_to_all.history.clear();
  EXPECT_EQ(template_text(stranger_to_all, 1, parts_of("parts: [alignment]")),
            "There are no past choices to compare the item with.");
}

TEST(Template, UserTextSeesTheHistoryAndItemTextTheTarget) {
  const Facts facts = shampoo_buyer();
  const std::string user = template_user_text(facts, 3), item = template_item_text(facts, 3);
  EXPECT_THAT(user, HasSubstr("Acme"));
  EXPECT_THAT(user, HasSubstr("Shampoos"));
  EXPECT_THAT(user, Not(HasSubstr("Conditioner")));
  EXPECT_THAT(item, HasSubstr("Argan Conditioner"));
  EXPECT_THAT(item, HasSubstr("Conditioners"));
  EXPECT_THAT(item, Not(HasSubstr("Lipco")));
  Facts other = facts;
  other.target = stranger().target;
  EXPECT_EQ(template_user_text(other, 3), user);
  other.history.clear();
  other.target = facts.target;
  EXPECT_EQ(template_item_text(other, 3), item);
}

TEST(Alignment, RanksTheFamiliarAboveTheStrange) {
  const double near = attribute_alignment(shampoo_buyer());
  const double far = attribute_alignment(stranger());
  EXPECT_GT(near, 0.5);
  EXPECT_LE(near, 1.0);
  EXPECT_EQ(far, 0.0);
}

TEST(Alignment, DoesNotSeeTheDecision) {
  Facts facts = shampoo_buyer();
  const double told = attribute_alignment(facts);
  facts.decision = false;
  EXPECT_EQ(attribute_alignment(facts), told);
}

TEST(Alignment, RecentOverlapCountsMore) {
  Facts late = shampoo_buyer();
  late.target.attributes = {{.name = "brand", .values = {{.text = "Lipco", .share = 0.01}}}};
  late.target.words.clear();
  Facts early = late;
  std::swap(late.history[1], late.history[2]);    // Lipco last
  std::swap(early.history[0], early.history[1]);  // Lipco first
  EXPECT_GT(attribute_alignment(late), attribute_alignment(early));
}

TEST(TitleWords, KeepsTellingWordsOnce) {
  EXPECT_EQ(title_words("The Argan Oil, argan 100ml (2 Pack) for Men's Hair-Care"),
            (std::vector<std::string>{"argan", "oil", "men", "hair-care"}));
}

}  // namespace
}  // namespace llmcf::cot
