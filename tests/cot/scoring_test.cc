// Scores: the cases of tests/cot/cases and the terms one by one.
#include "cot/scoring.h"

#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"
#include "fake_encoder.h"

namespace llmcf::cot {
namespace {

constexpr const char* kInput =
    "title: Rose Soap; brand: Acme\ntitle: Oat Soap; brand: Acme; category: Bath";
const std::string kOutcome = outcome_sentence(true, "title: Rose Soap; brand: Acme");

// A case file: "name: ...", "description: ...", "expect: accepted | <reason>", optionally
// "option: min_score=0.5", then "text:" and the text to the end of the file.
struct Case {
  std::map<std::string, std::string> head;
  std::string text;
};

Case read_case(const std::filesystem::path& path) {
  Case found;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line) && line != "text:") {
    const size_t colon = line.find(':');
    found.head[line.substr(0, colon)] = std::string(trim(line.substr(colon + 1)));
  }
  while (std::getline(file, line))
    found.text += line + "\n";
  if (!found.text.empty()) found.text.pop_back();
  return found;
}

Judgement judge_one(std::string_view text, const ScoringOptions& options = {}) {
  const ScoringInput input{.text = text, .input = kInput, .outcome = kOutcome};
  return judge(std::span(&input, 1), FakeEncoder(), options)[0];
}

class ScoringCases : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(ScoringCases, GetTheExpectedVerdict) {
  const Case one = read_case(GetParam());
  ScoringOptions options;
  if (one.head.contains("option")) {
    const auto parts = split(one.head.at("option"), '=');
    ASSERT_EQ(parts[0], "min_score");
    options.min_score = *parse_double(parts[1]);
  }
  const Judgement judgement = judge_one(one.text, options);
  EXPECT_EQ(judgement.accepted ? "accepted" : judgement.reason, one.head.at("expect"))
      << one.head.at("description") << " (score " << judgement.scores.total << ")";
}

std::vector<std::filesystem::path> case_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(LLMCF_SOURCE_DIR "/tests/cot/cases"))
    if (entry.path().extension() == ".case") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Files, ScoringCases, ::testing::ValuesIn(case_files()),
                         [](const auto& test) { return test.param.stem().string(); });

TEST(Scoring, RejectedTextScoresZero) {
  EXPECT_EQ(judge_one("short").scores.total, 0.0);
  EXPECT_EQ(judge_one("[INST] a long enough text about rose soap").scores.total, 0.0);
}

TEST(Scoring, RelevantTextBeatsIrrelevant) {
  const auto near = judge_one("Rose Soap by Acme is close to the Oat Soap by Acme in Bath.");
  const auto far = judge_one("The stock market closed higher on Tuesday after rates fell.");
  EXPECT_GT(near.scores.relevance, far.scores.relevance);
  EXPECT_GT(near.scores.consistency, far.scores.consistency);
  EXPECT_GT(near.scores.total, far.scores.total);
}

TEST(Scoring, RepetitionLowersCoherence) {
  const auto varied = judge_one("soap oat rose bath. acme brand title item.");
  const auto repeated = judge_one("soap soap soap soap. acme acme acme acme.");
  EXPECT_GT(varied.scores.coherence, repeated.scores.coherence);
}

TEST(Scoring, CoherenceIsTheMeanOfFlowAndFreshness) {
  // Two sentences with the same words: cosine 1; half of the words are repeated.
  EXPECT_NEAR(judge_one("rose soap acme. rose soap acme.").scores.coherence, 0.5 * (1 + 0.5), 1e-6);
  // One sentence has no neighbour: flow 0, nothing repeated.
  EXPECT_NEAR(judge_one("rose soap by acme").scores.coherence, 0.5, 1e-6);
}

TEST(Scoring, TotalIsTheWeightedMean) {
  ScoringOptions options{.coherence = 3, .completeness = 0, .relevance = 1, .consistency = 0};
  const auto scores = judge_one("Rose Soap is near. Oat Soap is near.", options).scores;
  EXPECT_NEAR(scores.total, (3 * scores.coherence + scores.relevance) / 4, 1e-9);
}

TEST(Scoring, ACandidateDoesNotDependOnTheOthersOfItsBatch) {
  const std::vector<ScoringInput> batch = {
      {.text = "Rose Soap fits the profile.", .input = kInput, .outcome = kOutcome},
      {.text = "x", .input = kInput, .outcome = kOutcome},
      {.text = "Oat Soap fits too, by Acme.", .input = kInput, .outcome = kOutcome}};
  const auto judged = judge(batch, FakeEncoder(), {});
  for (size_t index : {size_t{0}, size_t{2}})
    EXPECT_EQ(judged[index].scores.total, judge_one(batch[index].text).scores.total);
}

TEST(Scoring, RefusesAllWeightsZero) {
  EXPECT_THROW(ScoringOptions::from(
                   Config::parse("{coherence: 0, completeness: 0, relevance: 0, consistency: 0}")),
               InputError);
}

TEST(Sentences, AreSplitAtStopsBeforeSpace) {
  const auto found = sentences("Costs 3.50 today. Really?\nYes");
  EXPECT_EQ(found, (std::vector<std::string_view>{"Costs 3.50 today.", "Really?", "Yes"}));
}

}  // namespace
}  // namespace llmcf::cot
