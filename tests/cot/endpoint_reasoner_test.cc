// One attempt at a real HTTP server: what is sent, and what each kind of answer becomes.
#include "cot/endpoint_reasoner.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "cot/chat_answer.h"
#include "scripted_server.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;
using Status = ReasonOutcome::Status;

class EndpointReasonerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PYTHON();
    server_ = std::make_unique<testing::ScriptedServer>();
    options_.url = server_->url() + "/v1";
    options_.model = "tiny";
    options_.timeout = std::chrono::milliseconds(5000);
  }
  static ReasonRequest request(int64_t candidates = 1) {
    ReasonRequest made;
    made.prompt = {.system = "be brief", .user = "why did they choose it?"};
    made.candidates = candidates;
    made.seed = 77;
    return made;
  }
  ReasonOutcome attempt(int64_t candidates = 1) {
    return EndpointReasoner(options_).attempt(request(candidates), nullptr);
  }

  std::unique_ptr<testing::ScriptedServer> server_;
  EndpointOptions options_;
};

TEST_F(EndpointReasonerTest, SendsWhatTheOptionsSay) {
  options_.top_k = 50;
  attempt(3);
  const auto body = server_->requests()[0]["body"];
  EXPECT_EQ(body["model"], "tiny");
  EXPECT_EQ(body["messages"][0]["content"], "be brief");
  EXPECT_EQ(body["messages"][1]["role"], "user");
  EXPECT_EQ(body["n"], 3);
  EXPECT_EQ(body["max_tokens"], 256);
  EXPECT_EQ(body["top_k"], 50);
  EXPECT_EQ(body["seed"], 77);
  EXPECT_DOUBLE_EQ(body["temperature"].get<double>(), 0.6);
  EXPECT_TRUE(server_->requests()[0]["authorization"].is_null());
}

TEST_F(EndpointReasonerTest, ReadsAllCandidatesAndSharesTheirCost) {
  server_->script(R"({"chat": {"text": "because {n}", "prompt_tokens": 100,
                               "completion_tokens": 31}})");
  options_.prices = {{.model = "tiny", .prompt = 1000, .completion = 2000}};
  const auto outcome = attempt(3);
  ASSERT_EQ(outcome.status, Status::kAnswered);
  ASSERT_EQ(outcome.answers.size(), 3U);
  EXPECT_EQ(outcome.answers[2].text, "because 2");
  EXPECT_EQ(outcome.answers[2].finish_reason, "stop");
  EXPECT_EQ(outcome.usage.prompt_tokens, 100);
  EXPECT_DOUBLE_EQ(outcome.usage.money, (100 * 1000.0 + 31 * 2000.0) / 1e6);
  int64_t completion = 0;
  for (const ReasonAnswer& answer : outcome.answers)
    completion += answer.usage.completion_tokens;
  EXPECT_EQ(completion, 31);
}

TEST_F(EndpointReasonerTest, StreamGivesTheSameAnswerHoweverItIsCut) {
  options_.stream = true;
  for (const int piece : {1, 7, 1000}) {
    server_->script(testing::ScriptedServer::Json{
        {"chat", {{"text", "caf\xC3\xA9 because {n}"}, {"piece_bytes", piece}}}});
    const auto outcome = attempt(2);
    ASSERT_EQ(outcome.status, Status::kAnswered) << outcome.reason;
    ASSERT_EQ(outcome.answers.size(), 2U);
    EXPECT_EQ(outcome.answers[1].text, "caf\xC3\xA9 because 1");
    EXPECT_FALSE(outcome.usage.estimated);
  }
}

TEST_F(EndpointReasonerTest, EstimatesUsageThatIsNotTold) {
  server_->script(R"({"chat": {"text": "twelve chars", "usage": false}})");
  const auto outcome = attempt();
  EXPECT_TRUE(outcome.usage.estimated);
  EXPECT_EQ(outcome.usage.completion_tokens, 3);
}

TEST_F(EndpointReasonerTest, TakesTheTokenFromTheNamedVariableOnly) {
  setenv("LLMCF_TEST_KEY", "sesame", 1);
  options_.api_key_env = "LLMCF_TEST_KEY";
  attempt();
  EXPECT_EQ(server_->requests()[0]["authorization"], "Bearer sesame");
  unsetenv("LLMCF_TEST_KEY");
  EXPECT_THROW(attempt(), Error);
}

TEST_F(EndpointReasonerTest, TransientTroubleIsWorthAnotherTry) {
  options_.timeout = std::chrono::milliseconds(300);
  struct Trouble {
    const char* rule;
    const char* reason;
    bool charged;
  };
  for (const bool stream : {false, true}) {
    options_.stream = stream;
    for (const Trouble& trouble : std::initializer_list<Trouble>{
             {R"({"action": "status", "status": 429, "headers": {"Retry-After": "2"}})", "429",
              false},
             {R"({"action": "status", "status": 503})", "503", false},
             {R"({"action": "broken_json"})", "broken_json", true},
             {R"({"action": "drop"})", "dropped", true},
             {R"({"action": "truncate"})", "dropped", true},
             {R"({"action": "hang"})", "timeout", true}}) {
      server_->script(std::string("{\"rules\": [") + trouble.rule + "]}");
      const auto outcome = attempt();
      EXPECT_EQ(outcome.status, Status::kRetry) << trouble.rule << stream;
      EXPECT_EQ(outcome.reason, trouble.reason) << trouble.rule << stream;
      EXPECT_EQ(outcome.usage.completion_tokens > 0, trouble.charged) << trouble.rule;
      EXPECT_EQ(outcome.retry_after.has_value(), outcome.reason == "429");
    }
  }
}

TEST_F(EndpointReasonerTest, StreamWithoutDoneIsTakenIfItsChoicesAreFinished) {
  options_.stream = true;
  server_->script(R"({"rules": [{"action": "no_done"}]})");
  EXPECT_EQ(attempt().status, Status::kAnswered);
}

TEST_F(EndpointReasonerTest, NullContentIsNoAnswer) {
  server_->script(R"({"rules": [{"action": "null"}]})");
  const auto outcome = attempt();
  EXPECT_EQ(outcome.status, Status::kRetry);
  EXPECT_EQ(outcome.reason, "no_text");
}

TEST_F(EndpointReasonerTest, ABadRequestIsNotRepeated) {
  server_->script(R"({"rules": [{"action": "status", "status": 400}]})");
  EXPECT_EQ(attempt().status, Status::kRefused);
}

TEST_F(EndpointReasonerTest, WrongTokenModelOrRedirectStopsEverything) {
  for (const int status : {401, 403, 404, 302}) {
    server_->script(testing::ScriptedServer::Json{
        {"rules", {{{"action", "status"}, {"status", status}, {"headers", {{"Location", "/"}}}}}}});
    try {
      attempt();
      ADD_FAILURE() << status;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::to_string(status)));
    }
  }
}

TEST_F(EndpointReasonerTest, BoundIsAboveWhatIsUsed) {
  const auto outcome = attempt();
  const Usage bound = EndpointReasoner(options_).bound(request());
  EXPECT_GT(bound.prompt_tokens, outcome.usage.prompt_tokens);
  EXPECT_GE(bound.completion_tokens, outcome.usage.completion_tokens);
}

TEST(EndpointReasoner, NobodyListeningIsNotCharged) {
  EndpointOptions options;
  options.url = "http://127.0.0.1:1/v1";
  options.model = "tiny";
  const auto outcome = EndpointReasoner(options).attempt({}, nullptr);
  EXPECT_EQ(outcome.status, Status::kRetry);
  EXPECT_EQ(outcome.reason, "no_connection");
  EXPECT_EQ(outcome.usage.completion_tokens, 0);
}

TEST(EndpointReasoner, KnowsWhetherHistoriesLeaveTheMachine) {
  EndpointOptions options;
  options.url = "http://localhost:8000/v1";
  EXPECT_TRUE(EndpointReasoner(options).is_local());
  options.url = "https://user:secret@llm.example/v1";
  EXPECT_FALSE(EndpointReasoner(options).is_local());
  EXPECT_THAT(EndpointReasoner(options).address(), ::testing::Not(HasSubstr("secret")));
}

TEST(EndpointOptions, RefusesATokenInTheFile) {
  try {
    EndpointOptions::from(
        Config::parse("{url: 'http://x/v1', model: m, api_key: sk-123}", "run.yaml"));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("api_key_env"));
    EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("sk-123")));
  }
}

TEST(MakeReasoner, KindIsOneWord) {
  const char* both = "{kind: template, endpoint: {url: 'http://x/v1', model: m}}";
  EXPECT_TRUE(make_reasoner(Config::parse(both))->is_computed());
  EXPECT_EQ(make_reasoner(Config::parse("{kind: endpoint, endpoint: {url: 'http://x', model: m}}"))
                ->model(),
            "m");
  EXPECT_THROW(make_reasoner(Config::parse("kind: endpoint")), InputError);
  EXPECT_THROW(make_reasoner(Config::parse("kind: tempalte")), InputError);
}

TEST(Thinking, IsNotPartOfTheAnswer) {
  EXPECT_EQ(without_thinking("<think>\nlong\n</think>\n\nBecause."), "Because.");
  EXPECT_EQ(without_thinking("<think>never ended"), "");
  EXPECT_EQ(without_thinking(" plain "), "plain");
}

}  // namespace
}  // namespace llmcf::cot
