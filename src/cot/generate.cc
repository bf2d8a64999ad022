// The stage `reason`: workers, batches, scoring as answers come in.
#include "cot/generate.h"

#include <algorithm>
#include <exception>
#include <thread>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/random.h"
#include "core/strings.h"
#include "core/threads.h"
#include "cot/asker.h"
#include "cot/row_resolver.h"

namespace llmcf::cot {

namespace {

constexpr int64_t kBatch = 512;       // jobs per transaction without requests
constexpr int64_t kScoreEvery = 64;   // stored jobs between scorings with requests
constexpr int64_t kEstimated = 1000;  // rows that an estimate renders

std::string dataset_hash(const data::Dataset& dataset) {
  Hasher hasher;
  hasher.add_field(dataset.name());
  hasher.add(dataset.user_offsets().data(), dataset.user_offsets().size_bytes());
  hasher.add(dataset.event_item().data(), dataset.event_item().size_bytes());
  hasher.add(dataset.event_time().data(), dataset.event_time().size_bytes());
  return hasher.hex();
}

Source source_of(const GenerateInput& input, const GenerateOptions& options) {
  std::string settings =
      fmt::format("{} max_history={} max_item_chars={} tell_decision={}", input.reasoner.settings(),
                  options.max_history, options.max_item_chars, options.tell_decision);
  // Free answers follow the seed; nobody pays twice for another one.
  if (input.reasoner.is_template()) settings += fmt::format(" seed={}", options.seed);
  return {.kind = input.reasoner.kind(),
          .model = input.reasoner.model(),
          .prompt_hash = input.prompt.hash(),
          .settings = settings};
}

std::string scoring_fingerprint(const ScoringOptions& options, const text::Encoder& encoder) {
  return fmt::format("scoring/1 {} {} {} {} {} {} {}", options.coherence, options.completeness,
                     options.relevance, options.consistency, options.min_chars, options.min_score,
                     encoder.fingerprint());
}

// Generation of one call: who works on what.
class Generator {
 public:
  Generator(const GenerateInput& input, Pool& pool, const GenerateOptions& options)
      : input_(input),
        pool_(pool),
        options_(options),
        resolver_(input.dataset, input.rows),
        budget_(options.budget_tokens, options.budget_money, pool.spent(true)) {}

  void run(int64_t jobs) {
    Progress progress("reason", jobs, "jobs");
    progress_ = &progress;
    score_pending();
    if (input_.reasoner.address().empty())
      run_batches();
    else
      run_requests();
    score_pending();
    progress_ = nullptr;
  }

  GenerateReport& report() { return report_; }

 private:
  ReasonRequest request_for(const JobRow& row) const;
  bool cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }
  void run_batches();
  void run_requests();
  void work();
  void take(Asker::End end, int64_t job);
  void stop(const std::string& why);
  void score_pending();
  bool score_batch();

  const GenerateInput& input_;
  Pool& pool_;
  const GenerateOptions& options_;
  RowResolver resolver_;
  Budget budget_;
  Progress* progress_ = nullptr;
  std::mutex guard_;          // of what follows
  std::mutex scoring_guard_;  // one scorer at a time
  GenerateReport report_;
  std::atomic<bool> stopped_ = false;
  std::exception_ptr failure_;
  int64_t failures_in_a_row_ = 0;
  int64_t stored_ = 0;
};

ReasonRequest Generator::request_for(const JobRow& row) const {
  ReasonRequest request;
  request.facts = resolver_.facts(row, options_.tell_decision, options_.max_history);
  request.candidates = options_.candidates;
  Random random(
      static_cast<uint64_t>(options_.seed),
      fmt::format("cot.answer\n{}\n{}\n{}\n{}", row.user, row.position, row.item, row.label));
  request.seed = random.next() >> 8;  // room for the candidates
  if (!input_.reasoner.is_template())
    request.prompt = input_.prompt.render(request.facts, options_.max_item_chars);
  return request;
}

// Nothing to wait for: whole batches, all cores, one transaction each.
void Generator::run_batches() {
  for (auto claims = pool_.claim(kBatch); !claims.empty(); claims = pool_.claim(kBatch)) {
    if (cancelled()) {
      stop("cancelled");
      for (const Claim& claim : claims)
        pool_.release(claim.job);
      return;
    }
    std::vector<std::vector<NewAnswer>> answers(claims.size());
    parallel_for(static_cast<int64_t>(claims.size()), 16, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        const Claim& claim = claims[static_cast<size_t>(index)];
        ReasonRequest request = request_for(claim.row);
        request.candidates -= claim.stored;
        request.seed += static_cast<uint64_t>(claim.stored);
        const ReasonOutcome outcome = input_.reasoner.attempt(request, options_.cancelled);
        int64_t candidate = claim.stored;
        for (const ReasonAnswer& answer : outcome.answers)
          answers[static_cast<size_t>(index)].push_back({.job = claim.job,
                                                         .candidate = candidate++,
                                                         .text = answer.text,
                                                         .finish_reason = answer.finish_reason,
                                                         .usage = answer.usage,
                                                         .latency_ms = outcome.latency_ms});
      }
    });
    std::vector<NewAnswer> all;
    for (auto& part : answers)
      std::move(part.begin(), part.end(), std::back_inserter(all));
    pool_.store_batch(all);
    report_.asked += static_cast<int64_t>(claims.size());
    report_.answered += static_cast<int64_t>(claims.size());
    score_pending();
    progress_->advance(static_cast<int64_t>(claims.size()));
  }
}

void Generator::run_requests() {
  std::vector<std::thread> workers;
  for (int64_t worker = 0; worker < options_.concurrency; ++worker)
    workers.emplace_back([this] { work(); });
  for (std::thread& worker : workers)
    worker.join();
  if (failure_) std::rethrow_exception(failure_);
}

void Generator::work() {
  Asker asker(input_.reasoner, pool_, budget_,
              {.candidates = options_.candidates,
               .retry = options_.retry,
               .cancelled = options_.cancelled});
  try {
    while (!stopped_ && !cancelled()) {
      const auto claims = pool_.claim(1);
      if (claims.empty()) return;
      take(asker.ask(claims[0], request_for(claims[0].row)), claims[0].job);
    }
    if (cancelled()) stop("cancelled");
  } catch (...) {
    const std::lock_guard lock(guard_);
    if (!failure_) failure_ = std::current_exception();
    stopped_ = true;
  }
}

// Counts how a job ended; scores now and then, so that a bad model shows early.
void Generator::take(Asker::End end, int64_t job) {
  if (end == Asker::End::kOutOfBudget) return stop("the budget of " + budget_.describe());
  if (end == Asker::End::kCancelled) return stop("cancelled");
  bool score = false;
  {
    const std::lock_guard lock(guard_);
    ++report_.asked;
    progress_->advance(1);
    if (end == Asker::End::kAnswered) {
      ++report_.answered;
      failures_in_a_row_ = 0;
      score = ++stored_ % kScoreEvery == 0;
    } else {
      ++report_.failed;
      if (++failures_in_a_row_ == options_.max_failures) {
        throw Error(
            fmt::format("{}: {} jobs in a row got no answer, the last one is job {} "
                        "(`llmcf pool show` tells why); run again to go on",
                        input_.reasoner.address(), failures_in_a_row_, job));
      }
    }
  }
  if (score) score_pending();
}

void Generator::stop(const std::string& why) {
  const std::lock_guard lock(guard_);
  stopped_ = true;
  if (report_.stopped.empty()) report_.stopped = why;
}

void Generator::score_pending() {
  const std::lock_guard lock(scoring_guard_);
  while (score_batch()) {
  }
}

bool Generator::score_batch() {
  const auto pending = pool_.unscored(kBatch);
  if (pending.empty()) return false;
  std::vector<std::string> inputs(pending.size());
  std::vector<std::string> outcomes(pending.size());
  parallel_for(static_cast<int64_t>(pending.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const auto index = static_cast<size_t>(at);
      const JobRow& row = pending[index].second;
      const Facts facts = resolver_.facts(row, true, options_.max_history);
      inputs[index] = input_text(facts);
      outcomes[index] = outcome_sentence(*facts.decision, facts.target.text);
    }
  });
  std::vector<ScoringInput> scoring;
  for (size_t index = 0; index < pending.size(); ++index) {
    scoring.push_back(
        {.text = pending[index].first.text, .input = inputs[index], .outcome = outcomes[index]});
  }
  const auto judgements = judge(scoring, input_.encoder, options_.scoring);
  std::vector<Verdict> verdicts;
  for (size_t index = 0; index < pending.size(); ++index) {
    verdicts.push_back({.answer = pending[index].first.id,
                        .scores = judgements[index].scores,
                        .accepted = judgements[index].accepted,
                        .reason = judgements[index].reason});
    ++(judgements[index].accepted ? report_.accepted : report_.rejected);
  }
  pool_.set_verdicts(verdicts);
  return true;
}

void check(const GenerateInput& input, const GenerateOptions& options) {
  if (options.budget_money > 0 && !input.reasoner.has_price()) {
    throw Error(
        fmt::format("a budget in money needs the price of '{}': add it to "
                    "reason.endpoint.prices as {{model, prompt, completion}} per million "
                    "tokens",
                    input.reasoner.model()));
  }
  if (input.prompt.tells_decision() && !options.tell_decision) {
    throw Error(
        fmt::format("tell_decision is false, but the prompt {} has the slot {{{{decision}}}}",
                    input.prompt.name()));
  }
}

void notify(const GenerateInput& input, int64_t jobs) {
  if (input.reasoner.is_template()) {
    log::info("{} chains of thought come from the template reasoner: no language model", jobs);
  } else if (!input.reasoner.is_local()) {
    log::warn(
        "the histories behind {} rows leave this machine: they are sent to {} (model {}). User "
        "names are not sent, items and their order are",
        with_commas(jobs), input.reasoner.address(), input.reasoner.model());
  }
}

}  // namespace

GenerateReport generate(const GenerateInput& input, Pool& pool, const GenerateOptions& options) {
  check(input, options);
  const GenerationLock lock(pool);
  const auto sample = sample_rows(input.dataset, input.rows, options.share, options.seed);
  if (sample.empty()) {
    throw Error(fmt::format("no training row is in the sample of share {}: raise reason.share",
                            options.share));
  }
  const int64_t added = pool.set_sample(sample, dataset_hash(input.dataset));
  const std::string scoring = scoring_fingerprint(options.scoring, input.encoder);
  if (pool.meta("scoring") != scoring) pool.forget_scores(scoring);
  const int64_t jobs =
      pool.adopt(source_of(input, options), options.candidates, input.prompt.text());
  if (jobs > 0) notify(input, jobs);

  Generator generator(input, pool, options);
  generator.run(jobs);

  GenerateReport report = generator.report();
  report.added = added;
  const PoolStats stats = pool.stats();
  for (const auto& [state, count] : stats.jobs) {
    report.sample += count;
    if (state != job_state_name(JobState::kDone)) report.remaining += count;
  }
  report.spent = pool.spent(true);
  if (report.stopped.empty() && report.remaining > 0)
    report.stopped = fmt::format("{} jobs failed; run again to ask again", report.remaining);
  if (!report.stopped.empty())
    log::warn("stopped with {} of {} jobs left: {}", report.remaining, report.sample,
              report.stopped);
  return report;
}

std::vector<JobRow> sample_rows(const data::Dataset& dataset, const data::RowSet& rows,
                                double share, int64_t seed) {
  const data::Rows& train = rows.train();
  std::vector<uint8_t> chosen(static_cast<size_t>(train.size()), 0);
  parallel_for(train.size(), 4096, [&](int64_t begin, int64_t end) {
    std::string key;
    for (int64_t at = begin; at < end; ++at) {
      const auto row = static_cast<size_t>(at);
      key.clear();
      fmt::format_to(std::back_inserter(key), "cot.sample\n{}\n{}\n{}",
                     dataset.user_name(train.user[row]), train.position[row],
                     dataset.item_name(train.item[row]));
      chosen[row] = Random(static_cast<uint64_t>(seed), key).uniform() < share ? 1 : 0;
    }
  });
  std::vector<JobRow> sample;
  for (int64_t at = 0; at < train.size(); ++at) {
    const auto row = static_cast<size_t>(at);
    if (chosen[row] == 0) continue;
    sample.push_back({.user = std::string(dataset.user_name(train.user[row])),
                      .position = train.position[row],
                      .item = std::string(dataset.item_name(train.item[row])),
                      .label = train.label[row],
                      .time = train.time[row]});
  }
  return sample;
}

Estimate estimate(const GenerateInput& input, const Pool* pool, const GenerateOptions& options) {
  const auto sample = sample_rows(input.dataset, input.rows, options.share, options.seed);
  Estimate estimate{.sample = static_cast<int64_t>(sample.size()),
                    .jobs = static_cast<int64_t>(sample.size()),
                    .has_price = input.reasoner.has_price(),
                    .address = input.reasoner.address(),
                    .local = input.reasoner.is_local()};
  if (pool != nullptr)
    estimate.jobs = pool->count_missing(sample, source_of(input, options), options.candidates);
  if (estimate.jobs == 0 || input.reasoner.is_template()) return estimate;
  estimate.requests = estimate.jobs * input.reasoner.requests_for(options.candidates);
  const RowResolver resolver(input.dataset, input.rows);
  const int64_t step = std::max<int64_t>(1, estimate.sample / kEstimated);
  Usage total;
  int64_t rendered = 0;
  for (int64_t row = 0; row < estimate.sample; row += step, ++rendered) {
    ReasonRequest request;
    request.facts = resolver.facts(sample[static_cast<size_t>(row)], options.tell_decision,
                                   options.max_history);
    request.prompt = input.prompt.render(request.facts, options.max_item_chars);
    request.candidates = options.candidates;
    const Usage usage = input.reasoner.expected(request);
    total.prompt_tokens += usage.prompt_tokens;
    total.completion_tokens += usage.completion_tokens;
    total.money += usage.money;
  }
  const double scale = static_cast<double>(estimate.jobs) / static_cast<double>(rendered);
  estimate.prompt_tokens = static_cast<int64_t>(static_cast<double>(total.prompt_tokens) * scale);
  estimate.completion_tokens =
      static_cast<int64_t>(static_cast<double>(total.completion_tokens) * scale);
  estimate.money = total.money * scale;
  return estimate;
}

std::string Estimate::text() const {
  std::string text = fmt::format("rows in the sample        {}\nof them without answers   {}\n",
                                 with_commas(sample), with_commas(jobs));
  if (address.empty())
    return text + "requests                  none: nothing leaves this process\n";
  text += fmt::format(
      "requests                  {} to {}{}\n"
      "prompt tokens             about {} (characters / 4)\n"
      "completion tokens         at most {}\n",
      with_commas(requests), address, local ? " (this machine)" : " (NOT this machine)",
      with_commas(prompt_tokens), with_commas(completion_tokens));
  text += has_price ? fmt::format("money                     at most about {:.2f}\n", money)
                    : "money                     unknown: no price for this model\n";
  return text;
}

GenerateOptions GenerateOptions::from(const Config& reason) {
  GenerateOptions options;
  const bool offline = reason.get<std::string>("kind", "template") == "template";
  options.share = reason.get_number("share", options.share, 1e-9, 1);
  options.seed = reason.get<int64_t>("seed", options.seed);
  options.candidates = reason.get_int("candidates", offline ? 1 : options.candidates, 1, 255);
  options.tell_decision = reason.get<bool>("tell_decision", options.tell_decision);
  options.max_history = reason.get_int("max_history", options.max_history, 0, 100'000);
  options.max_item_chars = reason.get_int("max_item_chars", options.max_item_chars, 8, 100'000);
  options.scoring = ScoringOptions::from(reason.section("scoring"));
  options.concurrency = reason.get_int("concurrency", options.concurrency, 1, 1024);
  const Config budget = reason.section("budget");
  options.budget_tokens = budget.get_int("tokens", 0, 0, INT64_MAX);
  options.budget_money = budget.get_number("money", 0, 0, 1e12);
  budget.finish();
  const Config retry = reason.section("retry");
  options.retry = net::RetryPolicy::from(retry);
  retry.finish();
  options.max_failures = reason.get_int("max_failures", options.max_failures, 0, 1'000'000);
  return options;
}

}  // namespace llmcf::cot
