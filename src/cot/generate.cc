// The stage `reason`: workers, batches, scoring as answers come in.
#include "cot/generate.h"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/random.h"
#include "core/strings.h"
#include "core/threads.h"
#include "cot/answer_loop.h"
#include "cot/row_resolver.h"

namespace llmcf::cot {

namespace {

constexpr int64_t kBatch = 512;  // answers per scoring

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
  if (input.reasoner.is_computed()) settings += fmt::format(" seed={}", options.seed);
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

// Generation of one call: the answers, and their scores as they come in.
class Generator {
 public:
  Generator(const GenerateInput& input, Pool& pool, const GenerateOptions& options)
      : input_(input), pool_(pool), options_(options), resolver_(input.dataset, input.rows) {}

  void run(int64_t jobs) {
    score_pending();
    AnswerLoop loop(
        {.reasoner = input_.reasoner,
         .queue = pool_,
         .request = [this](const Claim& claim) { return request_for(claim.row); },
         .stored = [this] { score_pending(); }},
        {.name = "reason", .candidates = options_.candidates, .effort = options_.effort()},
        pool_.spent(true));
    const LoopReport done = loop.run(jobs);
    report_.asked = done.asked;
    report_.answered = done.answered;
    report_.failed = done.failed;
    report_.stopped = done.stopped;
    score_pending();
  }

  GenerateReport& report() { return report_; }

 private:
  ReasonRequest request_for(const JobRow& row) const;
  void score_pending();
  bool score_batch();

  const GenerateInput& input_;
  Pool& pool_;
  const GenerateOptions& options_;
  RowResolver resolver_;
  std::mutex scoring_guard_;  // one scorer at a time
  GenerateReport report_;
};

ReasonRequest Generator::request_for(const JobRow& row) const {
  ReasonRequest request;
  request.facts = resolver_.facts(row, options_.tell_decision, options_.max_history);
  request.candidates = options_.candidates;
  request.parts = input_.prompt.parts();
  Random random(
      static_cast<uint64_t>(options_.seed),
      fmt::format("cot.answer\n{}\n{}\n{}\n{}", row.user, row.position, row.item, row.label));
  request.seed = random.next() >> 8;  // room for the candidates
  if (!input_.reasoner.is_computed())
    request.prompt = input_.prompt.render(request.facts, options_.max_item_chars);
  return request;
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
  check_price(input.reasoner, options.effort());
  if (input.prompt.tells_decision() && !options.tell_decision) {
    throw Error(
        fmt::format("tell_decision is false, but the prompt {} has the slot {{{{decision}}}}",
                    input.prompt.name()));
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
  if (jobs > 0) announce(input.reasoner, jobs, JobKind::kRow);

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
  auto jobs = static_cast<int64_t>(sample.size());
  const int64_t total = jobs;
  if (pool != nullptr)
    jobs = pool->count_missing(sample, source_of(input, options), options.candidates);
  const RowResolver resolver(input.dataset, input.rows);
  return estimate_jobs(input.reasoner, "chains of thought", total, jobs, [&](int64_t row) {
    ReasonRequest request;
    request.facts = resolver.facts(sample[static_cast<size_t>(row)], options.tell_decision,
                                   options.max_history);
    request.prompt = input.prompt.render(request.facts, options.max_item_chars);
    request.candidates = options.candidates;
    return request;
  });
}

GenerateOptions GenerateOptions::from(const Config& reason, const std::string& protocol) {
  GenerateOptions options;
  const auto kind = reason.get<std::string>("kind", "template");
  const bool offline = kind == "template" || kind == "shop_expert";
  options.share = reason.get_number("share", options.share, 1e-9, 1);
  options.seed = reason.get<int64_t>("seed", options.seed);
  options.candidates = reason.get_int("candidates", offline ? 1 : options.candidates, 1, 255);
  options.tell_decision = reason.get<bool>("tell_decision", options.tell_decision);
  options.max_history = reason.get_int("max_history", options.max_history, 0, 100'000);
  options.max_item_chars = reason.get_int("max_item_chars", options.max_item_chars, 8, 100'000);
  options.scoring = ScoringOptions::from(reason.section("scoring"));
  options.whole_users = reason.get_choice("user_prefixes", protocol == "paper" ? "whole" : "powers",
                                          {"powers", "whole"}) == "whole";
  static_cast<Effort&>(options) = Effort::from(reason);
  return options;
}

}  // namespace llmcf::cot
