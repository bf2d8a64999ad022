// See knowledge.h.
#include "cot/knowledge.h"

#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/random.h"
#include "core/strings.h"

namespace llmcf::cot {

namespace {

Source source_of(JobKind kind, const KnowledgeInput& input, const GenerateOptions& options) {
  std::string settings = fmt::format(
      "{} {} max_item_chars={}", job_kind_name(kind),
      kind == JobKind::kTeach ? input.reasoner.judging_settings() : input.reasoner.settings(),
      options.max_item_chars);
  if (kind != JobKind::kItem) settings += fmt::format(" max_history={}", options.max_history);
  // Free answers follow the seed; nobody pays twice for another one.
  if (input.reasoner.is_computed()) settings += fmt::format(" seed={}", options.seed);
  return {.kind = input.reasoner.kind(),
          .model = input.reasoner.model(),
          .prompt_hash = input.prompt.hash(),
          .settings = settings};
}

// Turns jobs into requests.
class Requests {
 public:
  Requests(JobKind kind, const KnowledgeInput& input, const GenerateOptions& options)
      : kind_(kind), input_(input), options_(options), resolver_(input.dataset, input.rows) {}

  ReasonRequest of(const std::string& user, int32_t position, const std::string& item) const {
    ReasonRequest request;
    request.kind = kind_;
    request.facts =
        resolver_.facts(kind_ == JobKind::kItem ? 0 : resolver_.user(user), position,
                        kind_ == JobKind::kUser ? 0 : resolver_.item(item), options_.max_history);
    Random random(
        static_cast<uint64_t>(options_.seed),
        fmt::format("knowledge.{}\n{}\n{}\n{}", job_kind_name(kind_), user, position, item));
    request.seed = random.next() >> 8;
    if (!input_.reasoner.is_computed())
      request.prompt = input_.prompt.render(request.facts, options_.max_item_chars);
    return request;
  }

 private:
  JobKind kind_;
  const KnowledgeInput& input_;
  const GenerateOptions& options_;
  RowResolver resolver_;
};

}  // namespace

UserPrefixes::UserPrefixes(const data::Dataset& dataset, const data::RowSet& rows, bool whole) {
  if (!whole) return;
  whole_.resize(static_cast<size_t>(dataset.num_users()) + 1);
  const data::Rows& train = rows.train();
  for (size_t row = 0; row < train.user.size(); ++row) {
    int32_t& length = whole_[static_cast<size_t>(train.user[row])];
    // A positive row's own item is the next of the history.
    length = std::max(length, train.position[row] + (train.label[row] > 0.5F ? 1 : 0));
  }
}

int32_t UserPrefixes::of(int32_t user, int32_t position) const {
  if (!whole_.empty()) return whole_[static_cast<size_t>(user)];
  return static_cast<int32_t>(std::bit_floor(static_cast<uint32_t>(position)));
}

std::string shown_hash(const data::Dataset& dataset, std::span<const int32_t> history,
                       int32_t target, int64_t max_history) {
  if (max_history > 0 && history.size() > static_cast<size_t>(max_history))
    history = history.last(static_cast<size_t>(max_history));
  Hasher hasher;
  for (const int32_t item : history)
    hasher.add_field(dataset.item_text(item));
  hasher.add_field(target > 0 ? dataset.item_text(target) : "");
  return hasher.hex();
}

std::vector<KnowledgeJob> user_jobs(const data::Dataset& dataset, const data::RowSet& rows,
                                    const UserPrefixes& prefixes, int64_t max_history) {
  std::vector<std::pair<int32_t, int32_t>> needed;  // (user, prefix)
  for (const data::Split split : data::kAllSplits) {
    const data::Rows& part = rows.rows(split);
    for (size_t row = 0; row < part.user.size(); ++row) {
      const int32_t prefix = prefixes.of(part.user[row], part.position[row]);
      if (prefix > 0) needed.emplace_back(part.user[row], prefix);
    }
  }
  std::sort(needed.begin(), needed.end());
  needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
  std::vector<KnowledgeJob> jobs;
  jobs.reserve(needed.size());
  for (const auto& [user, prefix] : needed) {
    jobs.push_back({.user = std::string(dataset.user_name(user)),
                    .position = prefix,
                    .input = shown_hash(dataset, rows.history(user, prefix), 0, max_history)});
  }
  return jobs;
}

std::vector<KnowledgeJob> item_jobs(const data::Dataset& dataset) {
  std::vector<KnowledgeJob> jobs;
  jobs.reserve(static_cast<size_t>(dataset.num_items()));
  for (int32_t item = 1; item <= dataset.num_items(); ++item) {
    jobs.push_back(
        {.item = std::string(dataset.item_name(item)), .input = shown_hash(dataset, {}, item, 0)});
  }
  return jobs;
}

KnowledgeReport generate_knowledge(JobKind kind, const KnowledgeInput& input,
                                   const std::vector<KnowledgeJob>& jobs, Pool& pool,
                                   const GenerateOptions& options) {
  check_price(input.reasoner, options.effort());
  const GenerationLock lock(pool);
  KnowledgePool queue(pool, kind);
  KnowledgeReport report;
  report.jobs = static_cast<int64_t>(jobs.size());
  report.added = queue.set_jobs(jobs);
  const int64_t left = queue.adopt(source_of(kind, input, options), input.prompt.text());
  if (left > 0) announce(input.reasoner, left, kind);
  const bool judged_before = kind == JobKind::kTeach && left > 0 && !queue.current().empty();
  const Requests requests(kind, input, options);
  AnswerLoop loop({.reasoner = input.reasoner,
                   .queue = queue,
                   .request =
                       [&](const Claim& claim) {
                         ReasonRequest request =
                             requests.of(claim.row.user, claim.row.position, claim.row.item);
                         request.judged_before = judged_before;
                         return request;
                       }},
                  {.name = what_of(kind), .candidates = 1, .effort = options.effort()},
                  pool.spent(true));
  const LoopReport done = loop.run(left);
  report.answered = done.answered;
  report.failed = done.failed;
  report.stopped = done.stopped;
  report.remaining = queue.remaining();
  if (report.stopped.empty() && report.remaining > 0)
    report.stopped = fmt::format("{} jobs failed; run again to ask again", report.remaining);
  if (!report.stopped.empty())
    log::warn("{}: stopped with {} of {} jobs left: {}", what_of(kind), report.remaining,
              report.jobs, report.stopped);
  return report;
}

Estimate estimate_knowledge(JobKind kind, const KnowledgeInput& input,
                            const std::vector<KnowledgeJob>& jobs, Pool* pool,
                            const GenerateOptions& options) {
  const auto count = static_cast<int64_t>(jobs.size());
  int64_t missing = count;
  if (pool != nullptr)
    missing = KnowledgePool(*pool, kind).count_missing(jobs, source_of(kind, input, options));
  const Requests requests(kind, input, options);
  return estimate_jobs(input.reasoner, what_of(kind), count, missing, [&](int64_t index) {
    const KnowledgeJob& job = jobs[static_cast<size_t>(index)];
    return requests.of(job.user, job.position, job.item);
  });
}

}  // namespace llmcf::cot
