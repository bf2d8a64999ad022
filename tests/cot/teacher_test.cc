// Teacher scores: the template's, and a language model's through log-probabilities.
#include "cot/teacher.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/progress.h"
#include "cot/chat_answer.h"
#include "cot/endpoint_reasoner.h"
#include "scripted_server.h"
#include "shop.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;

class TeacherTest : public ::testing::Test {
 protected:
  TeacherTest() { set_progress_enabled(false); }

  const data::Dataset& dataset() const { return shop_.dataset(); }
  const data::RowSet& rows() const { return shop_.rows(); }
  static int64_t scored(const std::vector<float>& logits) {
    return std::count_if(logits.begin(), logits.end(), [](float x) { return !std::isnan(x); }) / 2;
  }

  Shop shop_{"", 40};
};

TEST_F(TeacherTest, TemplateGivesLogProbabilitiesThatFitTheLabels) {
  const auto scores = template_scores(dataset(), rows(), {}, 20);
  EXPECT_EQ(scores.source, kTemplateTeacher);
  const std::vector<float>& train = scores.logits[0];
  ASSERT_EQ(train.size(), static_cast<size_t>(rows().train().size()) * 2);
  double mean = 0, labels = 0;
  for (size_t row = 0; row < train.size() / 2; ++row) {
    EXPECT_NEAR(std::exp(train[2 * row]) + std::exp(train[2 * row + 1]), 1, 1e-5);
    mean += std::exp(train[2 * row]);
    labels += rows().train().label[row];
  }
  EXPECT_NEAR(mean, labels, 0.01 * labels) << "calibrated: mean probability = share of clicks";
}

TEST_F(TeacherTest, TheTemplateIsFittedToTrainingLabelsOnly) {
  const SafetensorsReader reader(shop_.path("rows.safetensors"));
  SafetensorsWriter writer;  // keeps views
  for (const char* key : {"format", "version", "method"})
    writer.set_metadata(key, reader.metadata(key));
  const auto copy = [&]<typename T>(const std::string& name) {
    writer.add<T>(name, reader.tensor(name).shape, reader.get<T>(name));
  };
  copy.operator()<uint8_t>("user_in_train");
  copy.operator()<int32_t>("item_train_count");
  copy.operator()<int32_t>("history_items");
  copy.operator()<int64_t>("history_offsets");
  std::map<std::string, std::vector<float>> labels;
  for (const std::string split : {"train", "valid", "test"}) {
    for (const char* column : {".user", ".item", ".position"})
      copy.operator()<int32_t>(split + column);
    for (const char* column : {".time", ".event"})
      copy.operator()<int64_t>(split + column);
    for (const float label : reader.get<float>(split + ".label"))
      labels[split].push_back(split == "train" ? label : 1 - label);
    writer.add(split + ".label", labels[split]);
  }
  writer.write(shop_.path("flipped.safetensors"));
  const data::RowSet flipped(shop_.path("flipped.safetensors"));
  EXPECT_NE(flipped.rows(data::Split::kTest).label[0], rows().rows(data::Split::kTest).label[0]);
  const auto before = template_scores(dataset(), rows(), {}, 20);
  const auto after = template_scores(dataset(), flipped, {}, 20);
  EXPECT_EQ(before.logits, after.logits) << "every row is scored, so none is NaN";
}

TEST_F(TeacherTest, AShareOfTheRowsIsTaughtAndALargerOneContainsIt) {
  const auto small = template_scores(dataset(), rows(), {.share = 0.3, .measure_share = 0}, 20);
  const auto large = template_scores(dataset(), rows(), {.share = 0.6, .measure_share = 0}, 20);
  EXPECT_GT(scored(small.logits[0]), 0);
  EXPECT_GT(scored(large.logits[0]), scored(small.logits[0]));
  EXPECT_LT(scored(large.logits[0]), rows().train().size());
  EXPECT_EQ(scored(large.logits[1]) + scored(large.logits[2]), 0);
  for (size_t index = 0; index < small.logits[0].size(); ++index)
    EXPECT_TRUE(std::isnan(small.logits[0][index]) || !std::isnan(large.logits[0][index]));
}

TEST_F(TeacherTest, DoubleSoftmaxSqueezesTheTargets) {
  const auto plain = template_scores(dataset(), rows(), {}, 20);
  const auto twice = template_scores(dataset(), rows(), {.double_softmax = true}, 20);
  for (size_t row = 0; row < plain.logits[0].size() / 2; ++row) {
    const double p = std::exp(plain.logits[0][2 * row]);
    EXPECT_NEAR(twice.logits[0][2 * row], 1 / (1 + std::exp(1 - 2 * p)), 1e-5);
    EXPECT_NEAR(twice.logits[0][2 * row] + twice.logits[0][2 * row + 1], 1, 1e-5);
  }
}

TEST_F(TeacherTest, AFileNamesItsSourceAndKeepsItsNotes) {
  const auto scores = template_scores(dataset(), rows(), {.share = 0.5}, 20);
  save_teacher(scores, {{"measured", "AUC 0.7"}}, shop_.path("teacher"));
  const TeacherSet set(shop_.path("teacher"));
  EXPECT_EQ(set.source(), "template alignment score");
  EXPECT_EQ(set.note("measured"), "AUC 0.7");
  const auto read = set.logits(data::Split::kTrain);
  ASSERT_EQ(read.size(), scores.logits[0].size());
  for (size_t index = 0; index < read.size(); ++index)
    EXPECT_TRUE(read[index] == scores.logits[0][index] ||
                (std::isnan(read[index]) && std::isnan(scores.logits[0][index])));
}

TEST(Verdict, SumsTheSpellingsOfAWord) {
  const auto verdict = read_verdict({{" Yes", std::log(0.3)},
                                     {"yes", std::log(0.2)},
                                     {"\xE2\x96\x81No", std::log(0.25)},
                                     {"Maybe", std::log(0.05)}});
  ASSERT_TRUE(verdict.has_value());
  EXPECT_NEAR(verdict->yes, std::log(0.5), 1e-9);
  EXPECT_NEAR(verdict->no, std::log(0.25), 1e-9);
}

TEST(Verdict, AnUnlistedWordCountsAsTheLeastListed) {
  const auto verdict = read_verdict({{"No", -0.1}, {"Maybe", -3}, {"Not", -5}});
  ASSERT_TRUE(verdict.has_value());
  EXPECT_DOUBLE_EQ(verdict->yes, -5);
  EXPECT_FALSE(read_verdict({{"Maybe", -0.1}}).has_value());
}

class EndpointTeacherTest : public TeacherTest {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PYTHON();
    server_ = std::make_unique<testing::ScriptedServer>();
    endpoint_.url = server_->url() + "/v1";
    endpoint_.model = "tiny";
    endpoint_.logprobs = true;
    options_.retry.base_delay = net::Milliseconds(1);
  }
  KnowledgeReport ask(Pool& pool) const {
    const EndpointReasoner reasoner(endpoint_);
    return generate_knowledge(JobKind::kTeach, {dataset(), rows(), prompt_, reasoner},
                              teach_jobs(dataset(), rows(), teach_, 20), pool, options_);
  }

  Prompt prompt_ = Prompt::builtin("teach_default", {}, PromptUse::kTeach);
  TeachOptions teach_{.share = 0.2, .measure_share = 0};
  GenerateOptions options_;
  EndpointOptions endpoint_;
  std::unique_ptr<testing::ScriptedServer> server_;
};

TEST_F(EndpointTeacherTest, ReadsTheProbabilitiesOfYesAndNo) {
  server_->script(R"({"rules": [{"every": 4, "action": "drop"}, {"every": 5, "action": "status",
                                 "status": 429, "headers": {"Retry-After": "0"}}],
                      "chat": {"text": "Yes", "top_logprobs": [["Yes", -0.5], ["No", -1.5]]}})");
  Pool pool(shop_.path("pool.sqlite"));
  const auto report = ask(pool);
  EXPECT_GT(report.jobs, 0);
  EXPECT_EQ(report.remaining, 0);
  const auto body = server_->requests()[0]["body"];
  EXPECT_EQ(body["max_tokens"], 1);
  EXPECT_EQ(body["logprobs"], true);
  EXPECT_EQ(body["top_logprobs"], 5);
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_THAT(body["messages"][1]["content"].get<std::string>(), HasSubstr("Answer Yes or No"));
  const auto scores = pool_scores(pool, dataset(), rows(), teach_);
  EXPECT_EQ(scores.source, "endpoint:tiny");
  EXPECT_EQ(scored(scores.logits[0]), report.jobs);
  for (size_t row = 0; row < scores.logits[0].size() / 2; ++row) {
    if (std::isnan(scores.logits[0][2 * row])) continue;
    EXPECT_FLOAT_EQ(scores.logits[0][2 * row], -0.5F);
    EXPECT_FLOAT_EQ(scores.logits[0][2 * row + 1], -1.5F);
  }
  const size_t before = server_->requests().size();
  EXPECT_EQ(ask(pool).answered, 0);
  endpoint_.temperature = 0.1;  // of chains of thought: verdicts are not drawn
  EXPECT_EQ(ask(pool).answered, 0);
  EXPECT_EQ(server_->requests().size(), before) << "nothing is asked twice";
}

TEST_F(EndpointTeacherTest, NeitherYesNorNoIsKeptAndTeachesNothing) {
  server_->script(R"({"chat": {"text": "Maybe", "top_logprobs": [["Maybe", -0.5]]}})");
  Pool pool(shop_.path("pool.sqlite"));
  EXPECT_EQ(ask(pool).remaining, 0);
  EXPECT_EQ(ask(pool).answered, 0);
  const auto scores = pool_scores(pool, dataset(), rows(), teach_);
  EXPECT_EQ(scored(scores.logits[0]), 0);
  save_teacher(scores, {}, shop_.path("teacher"));
  EXPECT_THROW(TeacherSet(shop_.path("teacher")).check_teaches(), Error);
}

TEST_F(EndpointTeacherTest, ABudgetThatEndsBeforeTheFirstVerdictLeavesNoScores) {
  Pool pool(shop_.path("pool.sqlite"));
  options_.budget_tokens = 1;
  EXPECT_THAT(ask(pool).stopped, HasSubstr("budget"));
  const auto scores = pool_scores(pool, dataset(), rows(), teach_);
  EXPECT_EQ(scores.source, "");
  EXPECT_EQ(scores.logits[0].size(), static_cast<size_t>(rows().train().size()) * 2);
  EXPECT_EQ(scored(scores.logits[0]), 0);
}

TEST_F(EndpointTeacherTest, AServerWithoutLogProbabilitiesStopsSoon) {
  server_->script(R"({"chat": {"text": "Yes"}})");
  Pool pool(shop_.path("pool.sqlite"));
  options_.concurrency = 1;
  try {
    ask(pool);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("logprobs to false"));
  }
  EXPECT_EQ(server_->requests().size(), 3U) << "one such answer may be an end of text";
  EXPECT_EQ(pool.spent(true).requests, 3);
  EXPECT_GE(pool.spent(true).prompt_tokens, 3) << "they were answered, so they cost";
}

TEST_F(EndpointTeacherTest, AnAnswerWithoutLogProbabilitiesFailsItsJobAlone) {
  const std::string chat =
      R"("chat": {"text": "Yes", "top_logprobs": [["Yes", -0.5], ["No", -1.5]],
                  "prompt_tokens": 100, "completion_tokens": 1}})";
  server_->script(R"({"rules": [{"times": 1, "action": "no_logprobs"},
                                {"skip": 1, "times": 3, "action": "no_logprobs"}], )" +
                  chat);
  Pool pool(shop_.path("pool.sqlite"));
  options_.concurrency = 1;
  const auto first = ask(pool);
  EXPECT_EQ(first.failed, 4);
  EXPECT_EQ(first.remaining, 4);
  EXPECT_EQ(first.answered, first.jobs - 4);
  EXPECT_EQ(pool.spent(true).tokens(), first.jobs * 101);
  server_->script(R"({"rules": [{"action": "no_logprobs"}], )" + chat);
  EXPECT_EQ(ask(pool).failed, 4) << "others were judged, so the server can";
  server_->script("{" + chat);
  EXPECT_EQ(ask(pool).remaining, 0);
}

}  // namespace
}  // namespace llmcf::cot
