// Kill -9 at random moments, against a real HTTP server that misbehaves: no answer that is stored
// is asked for again, and none is missing at the end.
#include <csignal>
#include <map>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/progress.h"
#include "cot/endpoint_reasoner.h"
#include "cot/generate.h"
#include "cot/knowledge.h"
#include "cot/row_resolver.h"
#include "fake_encoder.h"
#include "scripted_server.h"
#include "shop.h"

namespace llmcf::cot {
namespace {

constexpr const char* kMisbehaving = R"({"rules": [
    {"every": 7, "action": "status", "status": 429, "headers": {"Retry-After": "0"}},
    {"every": 8, "action": "broken_json", "delay_ms": 10},
    {"every": 9, "action": "drop", "delay_ms": 10},
    {"every": 10, "action": "truncate"},
    {"delay_ms": 30}],
  "chat": {"text": "Candidate {n}: the item fits the profile of this person."}})";

class KillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PYTHON();
    set_progress_enabled(false);
    server_ = std::make_unique<testing::ScriptedServer>();
    server_->script(kMisbehaving);
  }

  // What the killed process runs.
  void fill() const {
    EndpointOptions endpoint;
    endpoint.url = server_->url() + "/v1";
    endpoint.model = "tiny";
    endpoint.stream = true;
    endpoint.timeout = std::chrono::milliseconds(2000);
    GenerateOptions options;
    options.share = 1;
    options.candidates = kCandidates;
    options.concurrency = 3;
    options.retry.max_attempts = 50;
    options.retry.base_delay = net::Milliseconds(1);
    options.retry.max_delay = net::Milliseconds(10);
    Pool pool(shop_.path("pool.sqlite"));
    const EndpointReasoner reasoner(endpoint);
    if (about_users_) {
      const UserPrefixes prefixes(shop_.dataset(), shop_.rows(), false);
      generate_knowledge(JobKind::kUser, {shop_.dataset(), shop_.rows(), user_prompt_, reasoner},
                         user_jobs(shop_.dataset(), shop_.rows(), prefixes, 20), pool, options);
      return;
    }
    generate({.dataset = shop_.dataset(),
              .rows = shop_.rows(),
              .prompt = prompt_,
              .reasoner = reasoner,
              .encoder = encoder_},
             pool, options);
  }

  // Runs fill() in a child. True if it finished before it was killed.
  bool run_and_kill(std::chrono::milliseconds after) const {
    const pid_t child = fork();
    if (child == 0) {
      try {
        fill();
        _exit(0);
      } catch (const std::exception& error) {
        fprintf(stderr, "child: %s\n", error.what());
        _exit(1);
      }
    }
    const auto end = std::chrono::steady_clock::now() + after;
    int status = 0;
    while (std::chrono::steady_clock::now() < end) {
      if (waitpid(child, &status, WNOHANG) == child) return finished(status);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return finished(status);
  }
  static bool finished(int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return false;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return true;
  }

  // Prompt of every job whose answers are all stored.
  std::vector<std::string> stored_prompts() const {
    std::vector<std::string> prompts;
    if (!std::filesystem::exists(shop_.path("pool.sqlite"))) return prompts;
    const Pool pool(shop_.path("pool.sqlite"));
    const RowResolver resolver(shop_.dataset(), shop_.rows());
    for (const auto& job : pool.show_knowledge("", 1'000'000)) {
      if (job.state != JobState::kDone) continue;
      const Facts facts = resolver.facts(resolver.user(job.user), job.position, 0, 20);
      prompts.push_back(user_prompt_.render(facts).user);
    }
    for (const Pool::Shown& job : pool.show("", 1'000'000))
      if (job.state == JobState::kDone)
        prompts.push_back(prompt_.render(resolver.facts(job.row, true, 20)).user);
    return prompts;
  }
  std::map<std::string, int> requests_by_prompt() const {
    std::map<std::string, int> counts;
    for (const auto& request : server_->requests())
      ++counts[request["prompt"].get<std::string>()];
    return counts;
  }

  // Runs, kills and starts again until a run ends by itself. Returns the number of kills, and how
  // often each prompt had been asked when its answers were stored.
  int kill_until_done(std::map<std::string, int>& asked_when_stored) const {
    Random random(2023, "kill_test");
    int kills = 0;
    for (int round = 0; round < 200; ++round) {
      const auto after =
          std::chrono::milliseconds(kills >= 8 ? 60'000 : 60 + static_cast<int>(random.below(300)));
      if (run_and_kill(after)) break;
      ++kills;
      const auto counts = requests_by_prompt();
      for (const std::string& prompt : stored_prompts())
        asked_when_stored.emplace(prompt, counts.at(prompt));
    }
    return kills;
  }
  int64_t answered() const {
    int64_t count = 0;
    for (const auto& entry : server_->log())
      count += entry["event"] == "answered" ? 1 : 0;
    return count;
  }

  static constexpr int64_t kCandidates = 2;
  bool about_users_ = false;
  Shop shop_;
  Prompt prompt_ = Prompt::builtin("cot_default");
  Prompt user_prompt_ = Prompt::builtin("user_default", {}, PromptUse::kUser);
  FakeEncoder encoder_;
  std::unique_ptr<testing::ScriptedServer> server_;
};

TEST_F(KillTest, LosesNoAnswerAndAsksForNoneTwice) {
  std::map<std::string, int> asked_when_stored;
  const int kills = kill_until_done(asked_when_stored);
  EXPECT_GE(kills, 3) << "the run was over too soon to be killed";
  EXPECT_GT(asked_when_stored.size(), 0U) << "nothing had been stored before any kill";

  const auto counts = requests_by_prompt();
  for (const auto& [prompt, count] : asked_when_stored)
    EXPECT_EQ(counts.at(prompt), count)
        << "asked again although its answers were stored: " << prompt;
  const Pool pool(shop_.path("pool.sqlite"));
  const PoolStats stats = pool.stats();
  EXPECT_EQ(stats.jobs.at("done"), shop_.rows().train().size());
  EXPECT_EQ(stats.answers, kCandidates * shop_.rows().train().size());
  EXPECT_EQ(stats.unscored, 0);
  // Every request is in the ledger before it is sent. (A reused connection that is dropped without
  // an answer makes libcurl send the same request again by itself.)
  int64_t arrived = 0;
  for (const auto& request : server_->requests())
    arrived += request["action"] == "drop" ? 0 : 1;
  EXPECT_GE(stats.spent.requests, arrived);
  // One usual answer per job, and not more than one more for every kill and worker.
  EXPECT_LE(answered(), shop_.rows().train().size() + 3 * kills);
}

TEST_F(KillTest, LosesNoTextAboutAUserAndAsksForNoneTwice) {
  about_users_ = true;
  std::map<std::string, int> asked_when_stored;
  const int kills = kill_until_done(asked_when_stored);
  EXPECT_GE(kills, 1) << "the run was over too soon to be killed";
  EXPECT_GT(asked_when_stored.size(), 0U);
  const auto counts = requests_by_prompt();
  for (const auto& [prompt, count] : asked_when_stored)
    EXPECT_EQ(counts.at(prompt), count) << "asked again although it was stored: " << prompt;
  const int64_t jobs = shop_.dataset().num_users() * 3;  // prefixes 1, 2 and 4
  EXPECT_EQ(Pool(shop_.path("pool.sqlite")).stats().knowledge.at("user").jobs.at("done"), jobs);
  EXPECT_LE(answered(), jobs + 3 * kills);
}

}  // namespace
}  // namespace llmcf::cot
