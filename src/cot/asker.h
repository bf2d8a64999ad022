// Asks a reasoner until a claimed job has its answers: retries, budget, ledger, storing.
//
// Thread safety: one Asker serves any number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "cot/pool.h"
#include "cot/reasoner.h"
#include "net/retry.h"

namespace llmcf::cot {

// What may be spent. A request reserves the most it can cost before it is sent; when that does not
// fit, it waits for others to turn out cheaper, and is refused once none is under way.
class Budget {
 public:
  // Limits of 0 = none. `spent`: what earlier processes spent.
  Budget(int64_t tokens, double money, const Spending& spent);

  bool reserve(const Usage& bound);
  // The request that reserved `bound` used this.
  void settle(const Usage& bound, const Usage& used);
  std::string describe() const;  // "120,000 tokens", "5.00 money"

 private:
  bool fits(const Usage& bound) const;

  int64_t token_limit_;
  double money_limit_;
  mutable std::mutex guard_;
  std::condition_variable changed_;
  int64_t tokens_ = 0;  // used and reserved
  double money_ = 0;
  int64_t under_way_ = 0;
};

class Asker {
 public:
  enum class End { kAnswered, kFailed, kOutOfBudget, kCancelled };

  struct Settings {
    int64_t candidates = 1;
    net::RetryPolicy retry;
    const std::atomic<bool>* cancelled = nullptr;
  };

  Asker(const Reasoner& reasoner, JobQueue& queue, Budget& budget, Settings settings)
      : reasoner_(reasoner), queue_(queue), budget_(budget), settings_(settings) {}

  // Asks until the job has all its candidates. `request.seed` is that of candidate 0. Throws Error
  // if no request can work; the job is given back then.
  End ask(const Claim& claim, ReasonRequest request);

 private:
  // One request with its retries. Adds the number of stored answers to `stored`.
  End ask_once(int64_t job, const ReasonRequest& request, int64_t& stored);
  ReasonOutcome attempt(int64_t ledger, const ReasonRequest& request, const Usage& bound);
  void store(int64_t job, int64_t first, int64_t ledger, const ReasonOutcome& outcome);

  const Reasoner& reasoner_;
  JobQueue& queue_;
  Budget& budget_;
  Settings settings_;
};

}  // namespace llmcf::cot
