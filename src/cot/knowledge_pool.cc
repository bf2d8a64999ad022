// See knowledge_pool.h; also what Pool itself tells about knowledge.
#include "cot/knowledge_pool.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/strings.h"
#include "cot/pool_sql.h"

namespace llmcf::cot {

namespace {

using Guard = std::lock_guard<std::mutex>;

constexpr const char* kJobsTable = "knowledge_jobs";

std::optional<YesNo> read_verdict(const Statement& statement, int column) {
  if (statement.is_null(column) || statement.is_null(column + 1)) return std::nullopt;
  return YesNo{.yes = statement.real(column), .no = statement.real(column + 1)};
}

// "answer a of job j says something". A verdict is not in its text.
constexpr const char* kSaysSomething =
    "(j.kind = 'teach' OR trim(a.text, ' ' || char(9, 10, 11, 12, 13)) <> '')";

void bind_job(Statement& statement, const std::string& kind, const KnowledgeJob& job) {
  statement.bind(kind).bind(job.user).bind(job.position).bind(job.item).bind(job.input);
}

}  // namespace

std::string_view job_kind_name(JobKind kind) {
  switch (kind) {
    case JobKind::kUser:
      return "user";
    case JobKind::kItem:
      return "item";
    case JobKind::kTeach:
      return "teach";
    case JobKind::kRow:
      break;
  }
  return "row";
}

KnowledgePool::KnowledgePool(Pool& pool, JobKind kind) : pool_(pool), kind_(job_kind_name(kind)) {
  LLMCF_ASSERT(kind != JobKind::kRow);
}

std::string KnowledgePool::meta_key() const {
  return "knowledge." + kind_;
}

int64_t KnowledgePool::set_jobs(std::span<const KnowledgeJob> jobs) {
  const Guard guard(pool_.guard_);
  Database& database = pool_.database_;
  Transaction transaction(database);
  const int64_t before = single_integer(database, "SELECT count(*) FROM knowledge_jobs");
  Statement(database, "UPDATE knowledge_jobs SET active = 0 WHERE kind = ?").bind(kind_).run();
  Statement erased(database, "SELECT 1 FROM erased WHERE user_hash = ?");
  Statement insert(database,
                   fmt::format("INSERT INTO knowledge_jobs (kind, user, position, item, input, "
                               "active, state, wanted_version) VALUES (?, ?, ?, ?, ?, 1, {}, 1) "
                               "ON CONFLICT DO UPDATE SET active = 1",
                               state_number(JobState::kPending)));
  std::string last_user;
  bool skip = false;
  for (const KnowledgeJob& job : jobs) {
    if (job.user != last_user) {
      skip = erased.bind(erased_hash(job.user)).step();
      erased.reset();
      last_user = job.user;
    }
    if (skip) continue;
    bind_job(insert, kind_, job);
    insert.run();
  }
  const int64_t added = single_integer(database, "SELECT count(*) FROM knowledge_jobs") - before;
  transaction.commit();
  return added;
}

int64_t KnowledgePool::count_missing(std::span<const KnowledgeJob> jobs,
                                     const Source& source) const {
  const Guard guard(pool_.guard_);
  Statement count(pool_.database_,
                  fmt::format("SELECT count(*) FROM knowledge_jobs j JOIN knowledge_answers a ON "
                              "a.job = j.id WHERE j.kind = ? AND j.user = ? AND j.position = ? "
                              "AND j.item = ? AND j.input = ? AND {} AND {}",
                              fresh(find_source(pool_.database_, source)), kSaysSomething));
  int64_t missing = 0;
  for (const KnowledgeJob& job : jobs) {
    bind_job(count, kind_, job);
    count.step();
    missing += count.integer(0) == 0 ? 1 : 0;
    count.reset();
  }
  return missing;
}

int64_t KnowledgePool::adopt(const Source& source, const std::string& prompt_text) {
  const Guard guard(pool_.guard_);
  Database& database = pool_.database_;
  Transaction transaction(database);
  source_id_ = find_or_add_source(database, source, prompt_text);
  Statement(database, "INSERT OR REPLACE INTO meta VALUES (?, ?)")
      .bind(meta_key())
      .bind(std::to_string(source_id_))
      .run();
  database.exec("UPDATE ledger SET status = 'interrupted' WHERE status = 'open'");
  Statement(database,
            fmt::format("UPDATE knowledge_jobs AS j SET reason = '', state = CASE WHEN EXISTS "
                        "(SELECT 1 FROM knowledge_answers a WHERE a.job = j.id AND {} AND {}) "
                        "THEN {} ELSE {} END WHERE active = 1 AND kind = ?",
                        fresh(source_id_), kSaysSomething, state_number(JobState::kDone),
                        state_number(JobState::kPending)))
      .bind(kind_)
      .run();
  transaction.commit();
  Statement left(database, fmt::format("SELECT count(*) FROM knowledge_jobs WHERE active = 1 AND "
                                       "kind = ? AND state = {}",
                                       state_number(JobState::kPending)));
  left.bind(kind_).step();
  const int64_t count = left.integer(0);
  left.reset();
  return count;
}

int64_t KnowledgePool::remaining() const {
  const Guard guard(pool_.guard_);
  return single_integer(pool_.database_,
                        fmt::format("SELECT count(*) FROM knowledge_jobs WHERE active = 1 AND kind "
                                    "= '{}' AND state <> {}",
                                    kind_, state_number(JobState::kDone)));
}

std::vector<Claim> KnowledgePool::claim(int64_t count) {
  const Guard guard(pool_.guard_);
  const Relaxed relaxed(pool_.database_);
  Transaction transaction(pool_.database_);
  std::vector<Claim> claims;
  Statement find(pool_.database_,
                 fmt::format("SELECT id, user, position, item FROM knowledge_jobs WHERE active = 1 "
                             "AND kind = ? AND state = {} ORDER BY id LIMIT ?",
                             state_number(JobState::kPending)));
  find.bind(kind_).bind(count);
  while (find.step()) {
    claims.push_back({.job = find.integer(0),
                      .row = {.user = find.text(1),
                              .position = static_cast<int32_t>(find.integer(2)),
                              .item = find.text(3)},
                      .stored = 0});
  }
  for (const Claim& claim : claims)
    set_state(claim.job, JobState::kClaimed, "");
  transaction.commit();
  return claims;
}

void KnowledgePool::set_state(int64_t job, JobState state, const std::string& reason) {
  Statement(pool_.database_, "UPDATE knowledge_jobs SET state = ?, reason = ? WHERE id = ?")
      .bind(state_number(state))
      .bind(reason)
      .bind(job)
      .run();
}

void KnowledgePool::release(int64_t job) {
  const Guard guard(pool_.guard_);
  const Relaxed relaxed(pool_.database_);
  set_state(job, JobState::kPending, "");
}

void KnowledgePool::fail(int64_t job, const std::string& reason) {
  const Guard guard(pool_.guard_);
  set_state(job, JobState::kFailed, clean_text(reason));
}

int64_t KnowledgePool::begin_request(int64_t, const Usage& bound) {
  const Guard guard(pool_.guard_);
  return pool_.open_request(std::nullopt, bound);
}

void KnowledgePool::end_request(int64_t ledger, const std::string& status, const Usage& usage,
                                double latency_ms) {
  pool_.end_request(ledger, status, usage, latency_ms);
}

void KnowledgePool::store(std::span<const NewAnswer> answers, int64_t ledger, const Usage& usage,
                          double latency_ms) {
  const Guard guard(pool_.guard_);
  Transaction transaction(pool_.database_);
  pool_.close_request(ledger, "ok", usage, latency_ms);
  insert(answers);
  transaction.commit();
}

void KnowledgePool::store_batch(std::span<const NewAnswer> answers) {
  const Guard guard(pool_.guard_);
  Transaction transaction(pool_.database_);
  insert(answers);
  transaction.commit();
}

void KnowledgePool::insert(std::span<const NewAnswer> answers) {
  const int64_t version = pool_.version_unlocked();
  const int64_t now = pool_.options_.clock();
  // What is replaced is an empty text of an older pool.
  Statement statement(pool_.database_,
                      fmt::format("INSERT OR REPLACE INTO knowledge_answers (job, yes, no, {}) "
                                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                  kWritingColumns));
  for (const NewAnswer& answer : answers) {
    if (kind_ != job_kind_name(JobKind::kTeach) && trim(answer.text).empty()) {
      set_state(answer.job, JobState::kFailed, "the text is empty");
      continue;
    }
    statement.bind(answer.job)
        .bind(answer.verdict ? std::optional(answer.verdict->yes) : std::nullopt)
        .bind(answer.verdict ? std::optional(answer.verdict->no) : std::nullopt);
    bind_writing(statement, answer, version, source_id_, now);
    statement.run();
    set_state(answer.job, JobState::kDone, "");
  }
}

std::vector<KnowledgeText> KnowledgePool::current() const {
  const Guard guard(pool_.guard_);
  std::vector<KnowledgeText> texts;
  if (!has_table(pool_.database_, kJobsTable)) return texts;
  Statement find(pool_.database_,
                 fmt::format("SELECT j.id, j.user, j.position, j.item, j.input, a.text, {}, a.yes, "
                             "a.no FROM knowledge_jobs j JOIN knowledge_answers a ON a.job = j.id "
                             "JOIN sources s ON s.id = a.source WHERE j.active = 1 AND j.kind = ? "
                             "AND a.source = CAST((SELECT value FROM meta WHERE key = ?) AS "
                             "INTEGER) AND {} ORDER BY j.id, a.version DESC",
                             kReasoner, kSaysSomething));
  find.bind(kind_).bind(meta_key());
  int64_t last = 0;
  while (find.step()) {
    if (find.integer(0) == last) continue;
    last = find.integer(0);
    texts.push_back({.job = {.user = find.text(1),
                             .position = static_cast<int32_t>(find.integer(2)),
                             .item = find.text(3),
                             .input = find.text(4)},
                     .text = find.text(5),
                     .reasoner = find.text(6),
                     .verdict = read_verdict(find, 7)});
  }
  return texts;
}

std::string KnowledgePool::content_hash() const {
  Hasher hasher;
  for (const KnowledgeText& text : current()) {
    hasher.add_field(text.job.user);
    hasher.add(&text.job.position, sizeof(text.job.position));
    hasher.add_field(text.job.item);
    hasher.add_field(text.text);
    hasher.add_field(text.reasoner);
    if (text.verdict) hasher.add(&*text.verdict, sizeof(*text.verdict));
  }
  return hasher.hex();
}

int64_t Pool::erase_knowledge(const std::string& user) {
  if (user.empty()) return 0;  // item facts belong to nobody
  Statement(database_,
            "DELETE FROM knowledge_answers WHERE job IN (SELECT id FROM knowledge_jobs WHERE user "
            "= ?)")
      .bind(user)
      .run();
  Statement(database_, "DELETE FROM knowledge_jobs WHERE user = ?").bind(user).run();
  return database_.changes();
}

void Pool::count_knowledge(PoolStats& stats) const {
  if (!has_table(database_, kJobsTable)) return;
  Statement jobs(database_,
                 "SELECT kind, state, count(*) FROM knowledge_jobs WHERE active = 1 GROUP BY kind, "
                 "state");
  while (jobs.step()) {
    const std::string state(job_state_name(static_cast<JobState>(jobs.integer(1))));
    stats.knowledge[jobs.text(0)].jobs[state] = jobs.integer(2);
  }
  Statement answers(database_,
                    fmt::format("SELECT j.kind, {} AS writer, count(*) FROM knowledge_answers a "
                                "JOIN knowledge_jobs j ON j.id = a.job JOIN sources s ON s.id = "
                                "a.source WHERE j.active = 1 GROUP BY j.kind, writer",
                                kReasoner));
  while (answers.step())
    stats.knowledge[answers.text(0)].reasoners[answers.text(1)] = answers.integer(2);
}

std::vector<Pool::ShownKnowledge> Pool::show_knowledge(const std::string& user,
                                                       int64_t limit) const {
  const Guard guard(guard_);
  std::vector<ShownKnowledge> shown;
  if (!has_table(database_, kJobsTable)) return shown;
  for (const JobKind kind : {JobKind::kUser, JobKind::kItem, JobKind::kTeach}) {
    Statement find(database_,
                   fmt::format("SELECT j.kind, j.user, j.position, j.item, j.state, {}, a.text, "
                               "a.yes, a.no FROM knowledge_jobs j LEFT JOIN knowledge_answers a ON "
                               "a.id = (SELECT max(id) FROM knowledge_answers b WHERE b.job = "
                               "j.id) LEFT JOIN sources s ON s.id = a.source WHERE j.kind = ?1 AND "
                               "(?2 = '' OR j.user = ?2) ORDER BY j.id LIMIT ?3",
                               kReasoner));
    find.bind(job_kind_name(kind)).bind(user).bind(limit);
    while (find.step()) {
      shown.push_back({.kind = find.text(0),
                       .user = find.text(1),
                       .item = find.text(3),
                       .position = static_cast<int32_t>(find.integer(2)),
                       .state = static_cast<JobState>(find.integer(4)),
                       .reasoner = find.text(5),
                       .text = find.text(6),
                       .verdict = read_verdict(find, 7)});
    }
  }
  return shown;
}

std::vector<std::string> Pool::users() const {
  const Guard guard(guard_);
  std::string sql = "SELECT user FROM jobs";
  if (has_table(database_, kJobsTable))
    sql += " UNION SELECT user FROM knowledge_jobs WHERE user <> ''";
  Statement find(database_, sql + " ORDER BY user");
  std::vector<std::string> names;
  while (find.step())
    if (names.empty() || names.back() != find.text(0)) names.push_back(find.text(0));
  return names;
}

}  // namespace llmcf::cot
