// See answer_loop.h.
#include "cot/answer_loop.h"

#include <algorithm>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "core/threads.h"

namespace llmcf::cot {

namespace {

constexpr int64_t kBatch = 512;       // jobs per transaction without requests
constexpr int64_t kTellEvery = 64;    // stored jobs between calls of `stored` with requests
constexpr int64_t kEstimated = 1000;  // jobs that an estimate renders

// What the prompts of a kind show.
const char* sent_for(JobKind kind) {
  switch (kind) {
    case JobKind::kItem:
      return "the catalogue's texts";
    case JobKind::kUser:
      return "the histories";
    case JobKind::kTeach:
      return "the histories and the items asked about";
    case JobKind::kRow:
      break;
  }
  return "the histories, the items and (unless reason.tell_decision is false) the decisions";
}

}  // namespace

Effort Effort::from(const Config& reason) {
  Effort effort;
  effort.concurrency = reason.get_int("concurrency", effort.concurrency, 1, 1024);
  const Config budget = reason.section("budget");
  effort.budget_tokens = budget.get_int("tokens", 0, 0, INT64_MAX);
  effort.budget_money = budget.get_number("money", 0, 0, 1e12);
  budget.finish();
  const Config retry = reason.section("retry");
  effort.retry = net::RetryPolicy::from(retry);
  retry.finish();
  effort.max_failures = reason.get_int("max_failures", effort.max_failures, 0, 1'000'000);
  return effort;
}

AnswerLoop::AnswerLoop(Task task, Settings settings, const Spending& spent)
    : task_(std::move(task)),
      settings_(std::move(settings)),
      budget_(settings_.effort.budget_tokens, settings_.effort.budget_money, spent) {}

LoopReport AnswerLoop::run(int64_t jobs) {
  Progress progress(settings_.name, jobs, "jobs");
  progress_ = &progress;
  if (task_.reasoner.waits())
    run_requests();
  else
    run_batches();
  progress_ = nullptr;
  return report_;
}

bool AnswerLoop::cancelled() const {
  return settings_.effort.cancelled != nullptr && *settings_.effort.cancelled;
}

// Nothing to wait for: whole batches, all cores, one transaction each.
void AnswerLoop::run_batches() {
  JobQueue& queue = task_.queue;
  for (auto claims = queue.claim(kBatch); !claims.empty(); claims = queue.claim(kBatch)) {
    if (cancelled()) {
      stop("cancelled");
      for (const Claim& claim : claims)
        queue.release(claim.job);
      return;
    }
    std::vector<std::vector<NewAnswer>> answers(claims.size());
    parallel_for(static_cast<int64_t>(claims.size()), 16, [&](int64_t begin, int64_t end) {
      for (auto index = static_cast<size_t>(begin); index < static_cast<size_t>(end); ++index)
        answers[index] = answer(claims[index]);
    });
    std::vector<NewAnswer> all;
    for (auto& part : answers)
      std::move(part.begin(), part.end(), std::back_inserter(all));
    queue.store_batch(all);
    report_.asked += static_cast<int64_t>(claims.size());
    report_.answered += static_cast<int64_t>(claims.size());
    if (task_.stored) task_.stored();
    progress_->advance(static_cast<int64_t>(claims.size()));
  }
}

std::vector<NewAnswer> AnswerLoop::answer(const Claim& claim) const {
  ReasonRequest request = task_.request(claim);
  request.candidates = settings_.candidates - claim.stored;
  request.seed += static_cast<uint64_t>(claim.stored);
  const ReasonOutcome outcome = task_.reasoner.attempt(request, settings_.effort.cancelled);
  std::vector<NewAnswer> answers;
  int64_t candidate = claim.stored;
  for (const ReasonAnswer& answer : outcome.answers)
    answers.push_back({.job = claim.job,
                       .candidate = candidate++,
                       .text = answer.text,
                       .finish_reason = answer.finish_reason,
                       .usage = answer.usage,
                       .latency_ms = outcome.latency_ms,
                       .verdict = answer.verdict});
  return answers;
}

void AnswerLoop::run_requests() {
  std::vector<std::thread> workers;
  for (int64_t worker = 0; worker < settings_.effort.concurrency; ++worker)
    workers.emplace_back([this] { work(); });
  for (std::thread& worker : workers)
    worker.join();
  if (failure_) std::rethrow_exception(failure_);
}

void AnswerLoop::work() {
  Asker asker(task_.reasoner, task_.queue, budget_,
              {.candidates = settings_.candidates,
               .retry = settings_.effort.retry,
               .cancelled = settings_.effort.cancelled});
  try {
    while (!stopped_ && !cancelled()) {
      const auto claims = task_.queue.claim(1);
      if (claims.empty()) return;
      take(asker.ask(claims[0], task_.request(claims[0])), claims[0].job);
    }
    if (cancelled()) stop("cancelled");
  } catch (...) {
    const std::lock_guard lock(guard_);
    if (!failure_) failure_ = std::current_exception();
    stopped_ = true;
  }
}

// Counts how a job ended; tells of answers now and then, so that a bad model shows early.
void AnswerLoop::take(Asker::End end, int64_t job) {
  if (end == Asker::End::kOutOfBudget) return stop("the budget of " + budget_.describe());
  if (end == Asker::End::kCancelled) return stop("cancelled");
  bool tell = false;
  {
    const std::lock_guard lock(guard_);
    ++report_.asked;
    progress_->advance(1);
    if (end == Asker::End::kAnswered) {
      ++report_.answered;
      failures_in_a_row_ = 0;
      tell = ++stored_ % kTellEvery == 0;
    } else {
      ++report_.failed;
      if (++failures_in_a_row_ == settings_.effort.max_failures) {
        throw Error(fmt::format(
            "{}: {} jobs in a row got no answer, the last one is job {} "
            "(`llmcf pool show` tells why); run again to go on",
            task_.reasoner.address().empty() ? task_.reasoner.model() : task_.reasoner.address(),
            failures_in_a_row_, job));
      }
    }
  }
  if (tell && task_.stored) task_.stored();
}

void AnswerLoop::stop(const std::string& why) {
  const std::lock_guard lock(guard_);
  stopped_ = true;
  if (report_.stopped.empty()) report_.stopped = why;
}

void check_price(const Reasoner& reasoner, const Effort& effort) {
  if (effort.budget_money <= 0 || reasoner.has_price()) return;
  throw Error(
      fmt::format("a budget in money needs the price of '{}': add it to "
                  "reason.endpoint.prices as {{model, prompt, completion}} per million tokens",
                  reasoner.model()));
}

const char* what_of(JobKind kind) {
  switch (kind) {
    case JobKind::kUser:
      return "texts about users";
    case JobKind::kItem:
      return "texts about items";
    case JobKind::kTeach:
      return "verdicts of the teacher";
    case JobKind::kRow:
      break;
  }
  return "chains of thought";
}

void announce(const Reasoner& reasoner, int64_t jobs, JobKind kind) {
  const char* what = what_of(kind);
  if (reasoner.is_computed()) {
    log::info("{} {} come from the {} reasoner: no language model", with_commas(jobs), what,
              reasoner.kind());
  } else if (!reasoner.is_local()) {
    log::warn("{} behind {} {} leave this machine: they are sent to {} (model {}). {}",
              sent_for(kind), with_commas(jobs), what, reasoner.address(), reasoner.model(),
              kind == JobKind::kItem ? "Nothing about users is sent"
                                     : "User names are not sent, items and their order are");
  }
}

Estimate estimate_jobs(const Reasoner& reasoner, const std::string& what, int64_t sample,
                       int64_t jobs, const std::function<ReasonRequest(int64_t)>& request) {
  Estimate estimate{.what = what,
                    .sample = sample,
                    .jobs = jobs,
                    .has_price = reasoner.has_price(),
                    .address = reasoner.address(),
                    .local = reasoner.is_local()};
  if (jobs == 0 || reasoner.is_computed()) return estimate;
  const int64_t step = std::max<int64_t>(1, sample / kEstimated);
  Usage total;
  int64_t rendered = 0;
  for (int64_t job = 0; job < sample; job += step, ++rendered) {
    const ReasonRequest asked = request(job);
    estimate.requests = jobs * reasoner.requests_for(asked.candidates);
    const Usage usage = reasoner.expected(asked);
    total.prompt_tokens += usage.prompt_tokens;
    total.completion_tokens += usage.completion_tokens;
    total.money += usage.money;
  }
  const double scale = static_cast<double>(jobs) / static_cast<double>(rendered);
  estimate.prompt_tokens = static_cast<int64_t>(static_cast<double>(total.prompt_tokens) * scale);
  estimate.completion_tokens =
      static_cast<int64_t>(static_cast<double>(total.completion_tokens) * scale);
  estimate.money = total.money * scale;
  return estimate;
}

std::string Estimate::text() const {
  std::string text = fmt::format("{}\n  in the sample           {}\n  of them without answers {}\n",
                                 what, with_commas(sample), with_commas(jobs));
  if (address.empty())
    return text + "  requests                none: nothing leaves this process\n";
  text += fmt::format(
      "  requests                {} to {}{}\n"
      "  prompt tokens           about {} (characters / 4)\n"
      "  completion tokens       at most {}\n",
      with_commas(requests), address, local ? " (this machine)" : " (NOT this machine)",
      with_commas(prompt_tokens), with_commas(completion_tokens));
  text += has_price ? fmt::format("  money                   at most about {:.2f}\n", money)
                    : "  money                   unknown: no price for this model\n";
  return text;
}

}  // namespace llmcf::cot
