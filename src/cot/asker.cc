// See asker.h: the retry loop around one job.
#include "cot/asker.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/strings.h"

namespace llmcf::cot {

namespace {

using Status = ReasonOutcome::Status;

int64_t tokens_of(const Usage& usage) {
  return usage.prompt_tokens + usage.completion_tokens;
}

}  // namespace

Budget::Budget(int64_t tokens, double money, const Spending& spent)
    : token_limit_(tokens), money_limit_(money), tokens_(spent.tokens()), money_(spent.money) {}

bool Budget::fits(const Usage& bound) const {
  return (token_limit_ == 0 || tokens_ + tokens_of(bound) <= token_limit_) &&
         (money_limit_ == 0 || money_ + bound.money <= money_limit_);
}

bool Budget::reserve(const Usage& bound) {
  std::unique_lock lock(guard_);
  changed_.wait(lock, [&] { return fits(bound) || under_way_ == 0; });
  if (!fits(bound)) return false;
  tokens_ += tokens_of(bound);
  money_ += bound.money;
  ++under_way_;
  return true;
}

void Budget::settle(const Usage& bound, const Usage& used) {
  {
    const std::lock_guard lock(guard_);
    tokens_ += tokens_of(used) - tokens_of(bound);
    money_ += used.money - bound.money;
    --under_way_;
  }
  changed_.notify_all();
}

std::string Budget::describe() const {
  std::string text;
  if (token_limit_ > 0) text = fmt::format("{} tokens", with_commas(token_limit_));
  if (money_limit_ > 0) text += fmt::format("{}{} money", text.empty() ? "" : " or ", money_limit_);
  return text;
}

Asker::End Asker::ask(const Claim& claim, ReasonRequest request) {
  const uint64_t first_seed = request.seed;
  int64_t stored = claim.stored;
  try {
    while (stored < settings_.candidates) {
      request.candidates = settings_.candidates - stored;
      request.seed = first_seed + static_cast<uint64_t>(stored);
      const End end = ask_once(claim.job, request, stored);
      if (end == End::kOutOfBudget || end == End::kCancelled) queue_.release(claim.job);
      if (end != End::kAnswered) return end;
    }
  } catch (...) {
    queue_.release(claim.job);
    throw;
  }
  return End::kAnswered;
}

Asker::End Asker::ask_once(int64_t job, const ReasonRequest& request, int64_t& stored) {
  Random random(request.seed, fmt::format("cot.retry.{}", job));
  net::Backoff backoff(settings_.retry, random, net::Clock::system(), settings_.cancelled);
  const Usage bound = reasoner_.bound(request);
  while (true) {
    if (settings_.cancelled != nullptr && *settings_.cancelled) return End::kCancelled;
    if (!budget_.reserve(bound)) return End::kOutOfBudget;
    const int64_t ledger = queue_.begin_request(job, bound);
    const ReasonOutcome outcome = attempt(ledger, request, bound);
    if (outcome.status == Status::kAnswered) {
      store(job, stored, ledger, outcome);
      stored += static_cast<int64_t>(outcome.answers.size());
      return End::kAnswered;
    }
    queue_.end_request(ledger, outcome.reason, outcome.usage, outcome.latency_ms);
    if (outcome.reason == "cancelled") return End::kCancelled;
    if (outcome.status == Status::kHopeless) throw Error(outcome.detail);
    log::debug("job {}: {} {}", job, outcome.reason, outcome.detail);
    if (outcome.status == Status::kRetry && backoff.wait(outcome.retry_after)) continue;
    if (settings_.cancelled != nullptr && *settings_.cancelled) return End::kCancelled;
    queue_.fail(job, fmt::format("{} after {} attempts{}{}", outcome.reason, backoff.attempts(),
                                 outcome.detail.empty() ? "" : ": ", outcome.detail));
    return End::kFailed;
  }
}

ReasonOutcome Asker::attempt(int64_t ledger, const ReasonRequest& request, const Usage& bound) {
  try {
    ReasonOutcome outcome = reasoner_.attempt(request, settings_.cancelled);
    budget_.settle(bound, outcome.usage);
    return outcome;
  } catch (...) {
    budget_.settle(bound, {});
    queue_.end_request(ledger, "error", {}, 0);
    throw;
  }
}

void Asker::store(int64_t job, int64_t first, int64_t ledger, const ReasonOutcome& outcome) {
  std::vector<NewAnswer> answers;
  for (const ReasonAnswer& answer : outcome.answers) {
    answers.push_back({.job = job,
                       .candidate = first + static_cast<int64_t>(answers.size()),
                       .text = answer.text,
                       .finish_reason = answer.finish_reason,
                       .usage = answer.usage,
                       .latency_ms = outcome.latency_ms,
                       .verdict = answer.verdict});
  }
  queue_.store(answers, ledger, outcome.usage, outcome.latency_ms);
}

}  // namespace llmcf::cot
