// Has a reasoner answer the jobs of a queue: whole batches on all cores where nothing is sent, and
// requests under a budget where something is. What the jobs are about is the caller's.
//
// Invariant: the budget is what the pool's present version has spent, killed requests included; a
// request that might exceed it is not sent.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>

#include "core/config.h"
#include "core/progress.h"
#include "cot/asker.h"
#include "cot/pool.h"
#include "cot/reasoner.h"
#include "net/retry.h"

namespace llmcf::cot {

// What changes speed and spending only.
struct Effort {
  int64_t concurrency = 8;    // requests at once
  int64_t budget_tokens = 0;  // prompt and completion together; 0 = no limit
  double budget_money = 0;    // 0 = no limit; needs a price for the model
  net::RetryPolicy retry;     // section `retry`
  // Jobs failed in a row: then the endpoint is taken for dead; 0 = never.
  int64_t max_failures = 20;
  const std::atomic<bool>* cancelled = nullptr;

  // Keys concurrency, budget, retry and max_failures of section `reason`.
  static Effort from(const Config& reason);
};

struct LoopReport {
  int64_t asked = 0;     // jobs worked on
  int64_t answered = 0;  // of them done
  int64_t failed = 0;
  std::string stopped;  // why it ended before all was done; empty if nothing but failures is left
};

class AnswerLoop {
 public:
  // What is asked of whom. The functions are called from several threads.
  struct Task {
    const Reasoner& reasoner;
    JobQueue& queue;
    std::function<ReasonRequest(const Claim&)> request;  // its seed is that of candidate 0
    std::function<void()> stored = {};                   // now and then, after answers were stored
  };
  struct Settings {
    std::string name = "reason";  // of the progress line
    int64_t candidates = 1;
    Effort effort{};
  };
  // `spent`: what earlier processes spent.
  AnswerLoop(Task task, Settings settings, const Spending& spent);

  // Throws Error for an address or token that cannot work, or if the endpoint is dead.
  LoopReport run(int64_t jobs);

 private:
  bool cancelled() const;
  void run_batches();
  std::vector<NewAnswer> answer(const Claim& claim) const;
  void run_requests();
  void work();
  void take(Asker::End end, int64_t job);
  void stop(const std::string& why);

  Task task_;
  Settings settings_;
  Budget budget_;
  Progress* progress_ = nullptr;
  std::mutex guard_;  // of what follows
  LoopReport report_;
  std::atomic<bool> stopped_ = false;
  std::exception_ptr failure_;
  int64_t failures_in_a_row_ = 0;
  int64_t stored_ = 0;
};

// Throws Error for a budget in money without a price.
void check_price(const Reasoner& reasoner, const Effort& effort);
// What the answers to a kind of job are: "chains of thought", "texts about users", ...
const char* what_of(JobKind kind);
// Says who answers, and what leaves the machine.
void announce(const Reasoner& reasoner, int64_t jobs, JobKind kind);

// What a generation would do. Tokens are approximate (characters / 4).
struct Estimate {
  std::string what;    // "chains of thought", ...
  int64_t sample = 0;  // jobs in the sample
  int64_t jobs = 0;    // of them without answers
  int64_t requests = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;  // at most
  double money = 0;
  bool has_price = true;
  std::string address;  // where prompts would go; empty if they stay in the process
  bool local = true;

  std::string text() const;  // a few lines for people
};

// `request` renders one of the `sample` jobs; a thousand of them are looked at.
Estimate estimate_jobs(const Reasoner& reasoner, const std::string& what, int64_t sample,
                       int64_t jobs, const std::function<ReasonRequest(int64_t)>& request);

}  // namespace llmcf::cot
