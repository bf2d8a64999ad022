// What the pool tells: accepted answers, statistics, single jobs.
#include <algorithm>

#include <fmt/format.h>

#include "core/hash.h"
#include "cot/pool.h"
#include "cot/pool_sql.h"

namespace llmcf::cot {

namespace {

using Guard = std::lock_guard<std::mutex>;

constexpr const char* kJobColumns = "j.user, j.position, j.item, j.label, j.time";
constexpr const char* kAnswerColumns =
    "a.id, a.job, a.candidate, a.version, a.text, a.finish_reason, a.prompt_tokens, "
    "a.completion_tokens, a.money, a.estimated, a.latency_ms, a.created_at, a.coherence, "
    "a.completeness, a.relevance, a.consistency, a.score, a.accepted, a.reason, a.superseded_by, "
    "s.kind, s.model, s.prompt_hash, s.settings";
constexpr int kAnswerColumnCount = 24;

JobRow read_row(const Statement& statement, int first) {
  return {.user = statement.text(first),
          .position = static_cast<int32_t>(statement.integer(first + 1)),
          .item = statement.text(first + 2),
          .label = static_cast<float>(statement.real(first + 3)),
          .time = statement.integer(first + 4)};
}

Answer read_answer(const Statement& statement) {
  Answer answer;
  answer.id = statement.integer(0);
  answer.job = statement.integer(1);
  answer.candidate = statement.integer(2);
  answer.version = statement.integer(3);
  answer.text = statement.text(4);
  answer.finish_reason = statement.text(5);
  answer.usage = {.prompt_tokens = statement.integer(6),
                  .completion_tokens = statement.integer(7),
                  .money = statement.real(8),
                  .estimated = statement.integer(9) != 0};
  answer.latency_ms = statement.real(10);
  answer.created_at = statement.integer(11);
  if (!statement.is_null(17)) {
    answer.scores = Scores{.coherence = statement.real(12),
                           .completeness = statement.real(13),
                           .relevance = statement.real(14),
                           .consistency = statement.real(15),
                           .total = statement.real(16)};
    answer.accepted = statement.integer(17) != 0;
  }
  answer.reason = statement.text(18);
  if (!statement.is_null(19)) answer.superseded_by = statement.integer(19);
  answer.source = {.kind = statement.text(20),
                   .model = statement.text(21),
                   .prompt_hash = statement.text(22),
                   .settings = statement.text(23)};
  return answer;
}

std::map<std::string, int64_t> count_by(const Database& database, const std::string& sql) {
  std::map<std::string, int64_t> counts;
  Statement statement(database, sql);
  while (statement.step())
    counts[statement.text(0)] = statement.integer(1);
  return counts;
}

void read_answer_counts(const Database& database, PoolStats& stats) {
  Statement statement(database,
                      "SELECT count(*), sum(a.superseded_by IS NOT NULL), "
                      "sum(a.superseded_by IS NULL AND j.active AND a.accepted IS 1), "
                      "sum(a.superseded_by IS NULL AND j.active AND a.accepted IS 0), "
                      "sum(a.superseded_by IS NULL AND j.active AND a.accepted IS NULL) "
                      "FROM answers a JOIN jobs j ON j.id = a.job");
  statement.step();
  stats.answers = statement.integer(0);
  stats.superseded = statement.integer(1);
  stats.accepted = statement.integer(2);
  stats.rejected = statement.integer(3);
  stats.unscored = statement.integer(4);
  statement.reset();
  Statement mean(database,
                 "SELECT avg(coherence), avg(completeness), avg(relevance), avg(consistency), "
                 "avg(score) FROM answers a JOIN jobs j ON j.id = a.job WHERE j.active = 1 AND "
                 "superseded_by IS NULL AND accepted = 1");
  mean.step();
  stats.mean = {.coherence = mean.real(0),
                .completeness = mean.real(1),
                .relevance = mean.real(2),
                .consistency = mean.real(3),
                .total = mean.real(4)};
  mean.reset();
}

}  // namespace

std::vector<std::pair<Answer, JobRow>> Pool::unscored(int64_t limit) const {
  const Guard guard(guard_);
  Statement statement(database_,
                      fmt::format("SELECT {}, {} FROM answers a JOIN jobs j ON j.id = a.job JOIN "
                                  "sources s ON s.id = a.source WHERE a.accepted IS NULL AND "
                                  "a.superseded_by IS NULL AND j.active = 1 ORDER BY a.id LIMIT ?",
                                  kAnswerColumns, kJobColumns));
  statement.bind(limit);
  std::vector<std::pair<Answer, JobRow>> answers;
  while (statement.step())
    answers.emplace_back(read_answer(statement), read_row(statement, kAnswerColumnCount));
  return answers;
}

std::vector<Accepted> Pool::accepted() const {
  const Guard guard(guard_);
  Statement statement(
      database_, fmt::format("SELECT {}, a.id, a.score, a.text, {}, j.id FROM answers a JOIN jobs "
                             "j ON j.id = a.job JOIN sources s ON s.id = a.source WHERE j.active = "
                             "1 AND a.superseded_by IS NULL AND a.accepted = 1 "
                             "ORDER BY j.id, a.score DESC, a.candidate, a.id",
                             kJobColumns, kReasoner));
  std::vector<Accepted> best;
  int64_t last_job = 0;
  while (statement.step()) {
    if (statement.integer(9) == last_job) continue;
    last_job = statement.integer(9);
    best.push_back({.row = read_row(statement, 0),
                    .answer = statement.integer(5),
                    .score = statement.real(6),
                    .text = statement.text(7),
                    .reasoner = statement.text(8)});
  }
  return best;
}

std::string Pool::content_hash() const {
  Hasher hasher;
  for (const Accepted& accepted : this->accepted()) {
    hasher.add_field(accepted.row.user);
    hasher.add_field(accepted.row.item);
    hasher.add(&accepted.row.position, sizeof(accepted.row.position));
    hasher.add(&accepted.row.label, sizeof(accepted.row.label));
    hasher.add(&accepted.row.time, sizeof(accepted.row.time));
    hasher.add(&accepted.answer, sizeof(accepted.answer));
    hasher.add(&accepted.score, sizeof(accepted.score));
    hasher.add_field(accepted.text);
    hasher.add_field(accepted.reasoner);
  }
  return hasher.hex();
}

std::vector<Pool::Shown> Pool::show(const std::string& user, int64_t limit) const {
  const Guard guard(guard_);
  Statement jobs(database_, fmt::format("SELECT j.id, j.state, j.active, {} FROM jobs j WHERE "
                                        "(?1 = '' OR j.user = ?1) ORDER BY j.id LIMIT ?2",
                                        kJobColumns));
  jobs.bind(user).bind(limit);
  std::vector<Shown> shown;
  while (jobs.step()) {
    shown.push_back({.job = jobs.integer(0),
                     .row = read_row(jobs, 3),
                     .state = static_cast<JobState>(jobs.integer(1)),
                     .active = jobs.integer(2) != 0,
                     .answers = {}});
  }
  Statement answers(database_,
                    fmt::format("SELECT {} FROM answers a JOIN sources s ON s.id = a.source WHERE "
                                "a.job = ? ORDER BY a.superseded_by IS NOT NULL, a.score DESC, "
                                "a.candidate, a.id",
                                kAnswerColumns));
  for (Shown& job : shown) {
    answers.bind(job.job);
    while (answers.step())
      job.answers.push_back(read_answer(answers));
  }
  return shown;
}

PoolStats Pool::stats() const {
  PoolStats stats;
  stats.spent = spent(false);
  const Guard guard(guard_);
  stats.version = version_unlocked();
  Statement jobs(database_, "SELECT state, active, count(*) FROM jobs GROUP BY state, active");
  while (jobs.step()) {
    if (jobs.integer(1) == 0)
      stats.inactive_jobs += jobs.integer(2);
    else
      stats.jobs[std::string(job_state_name(static_cast<JobState>(jobs.integer(0))))] =
          jobs.integer(2);
  }
  read_answer_counts(database_, stats);
  const char* current =
      "FROM answers a JOIN jobs j ON j.id = a.job JOIN sources s ON s.id = a.source "
      "WHERE j.active = 1 AND a.superseded_by IS NULL";
  stats.reasoners = count_by(
      database_, fmt::format("SELECT {0} AS name, count(*) {1} GROUP BY name", kReasoner, current));
  stats.rejections = count_by(
      database_,
      fmt::format("SELECT a.reason, count(*) {} AND a.accepted = 0 GROUP BY a.reason", current));
  count_knowledge(stats);
  return stats;
}

Spending Pool::spent(bool this_version_only) const {
  const Guard guard(guard_);
  Statement statement(database_,
                      "SELECT count(*), sum(status NOT IN ('ok', 'open')), sum(prompt_tokens), "
                      "sum(completion_tokens), sum(money) FROM ledger WHERE version >= ?");
  statement.bind(this_version_only ? version_unlocked() : int64_t{0});
  statement.step();
  Spending spending{.requests = statement.integer(0),
                    .failed_requests = statement.integer(1),
                    .prompt_tokens = statement.integer(2),
                    .completion_tokens = statement.integer(3),
                    .money = statement.real(4)};
  statement.reset();
  return spending;
}

std::string Pool::meta(const std::string& key) const {
  const Guard guard(guard_);
  Statement table(database_, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'");
  if (!table.step()) return "";
  table.reset();
  Statement statement(database_, "SELECT value FROM meta WHERE key = ?");
  statement.bind(key);
  if (!statement.step()) return "";
  std::string value = statement.text(0);
  statement.reset();
  return value;
}

}  // namespace llmcf::cot
