// What RecGen-mini is made from: the same bytes for the same options, and true.
#include "cot/shop_corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/progress.h"
#include "cot/shop_prose.h"
#include "data/sample_world.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;

CorpusOptions small() {
  CorpusOptions options{.shops = 2, .chains = 20, .verdicts = 10, .documents = 50, .questions = 40};
  options.shop.users = 30;
  options.shop.items = 60;
  return options;
}

class ShopCorpusTest : public ::testing::Test {
 protected:
  ShopCorpusTest() { set_progress_enabled(false); }
  std::string all() const {
    std::string text;
    for (const char* name : {"prose.txt", "general.json", "recommend.json"})
      text += read_file(directory_.path() / name);
    return text;
  }
  TemporaryDirectory directory_;
};

TEST_F(ShopCorpusTest, TheSameOptionsGiveTheSameBytes) {
  CorpusOptions options = small();
  write_shop_corpus(options, directory_.path());
  const std::string first = all();
  write_shop_corpus(options, directory_.path());
  EXPECT_TRUE(first == all());
  options.seed = 7;
  write_shop_corpus(options, directory_.path());
  EXPECT_FALSE(first == all());
}

TEST_F(ShopCorpusTest, HoldsWhatWasAskedFor) {
  const CorpusReport report = write_shop_corpus(small(), directory_.path());
  EXPECT_EQ(report.chains, 40);
  EXPECT_EQ(report.verdicts, 20);
  const auto entries = nlohmann::json::parse(read_file(directory_.path() / "recommend.json"));
  ASSERT_EQ(entries.size(), 60U);
  int verdicts = 0;
  for (const auto& entry : entries) {
    const std::string answer = entry["output"], question = entry["instruction"];
    EXPECT_THAT(question, HasSubstr("New item:\n<item>"));
    if (answer == "Yes" || answer == "No") {
      ++verdicts;
      EXPECT_THAT(question, ::testing::Not(HasSubstr("What happened")));
    } else {
      const bool chosen = question.find("the person chose") != std::string::npos;
      EXPECT_EQ(answer.find("not cho") == std::string::npos, chosen) << answer;
    }
  }
  EXPECT_EQ(verdicts, 20);
}

// A brand is never said to be made for people of another pursuit.
TEST(ShopProse, IsTrue) {
  for (const std::string& text : shop_prose(400, 3))
    for (const data::Pursuit& pursuit : data::pursuits())
      for (const char* pattern : {" is a brand that {} swear by", " is made for {}."}) {
        std::string phrase(pattern);
        phrase.replace(phrase.find("{}"), 2, pursuit.people);
        const size_t at = text.find(phrase);
        if (at == std::string::npos) continue;
        const size_t begin = at == 0 ? 0 : text.rfind(". ", at);
        const std::string brand = text.substr(begin == std::string::npos ? 0 : begin + 2,
                                              at - (begin == std::string::npos ? 0 : begin + 2));
        const auto of = data::pursuit_of_brand(brand);
        if (!of) continue;  // the sentence has another subject
        EXPECT_EQ(data::pursuits()[*of].people, pursuit.people) << text;
      }
}

TEST(ShopProse, QuestionsHaveAnswers) {
  for (const ShopQuestion& question : shop_questions(300, 5)) {
    EXPECT_FALSE(question.instruction.empty());
    EXPECT_FALSE(question.answer.empty()) << question.instruction;
    EXPECT_EQ(question.instruction.find("{}"), std::string::npos);
  }
}

}  // namespace
}  // namespace llmcf::cot
