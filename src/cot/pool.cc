// Jobs, claims, answers and versions: everything that writes. Reading is in pool_reading.cc, JSON
// lines in pool_jsonl.cc.
#include "cot/pool.h"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/strings.h"
#include "cot/pool_schema.h"
#include "cot/pool_sql.h"

namespace llmcf::cot {

namespace {

using Guard = std::lock_guard<std::mutex>;

int64_t system_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void bind_row(Statement& statement, const JobRow& row) {
  statement.bind(row.user)
      .bind(row.position)
      .bind(row.item)
      .bind(static_cast<double>(row.label))
      .bind(row.time);
}

}  // namespace

std::string_view job_state_name(JobState state) {
  static constexpr std::string_view kNames[] = {"pending", "claimed", "done", "failed"};
  return kNames[static_cast<size_t>(state)];
}

std::string Source::key() const {
  Hasher hasher;
  for (const std::string* part : {&kind, &model, &prompt_hash, &settings})
    hasher.add_field(*part);
  return hasher.hex();
}

Pool::Pool(const std::filesystem::path& path, PoolOptions options)
    : path_(path), options_(std::move(options)), database_([&] {
        if (!options_.read_only && path.has_parent_path())
          std::filesystem::create_directories(path.parent_path());
        if (options_.read_only && !std::filesystem::exists(path))
          throw Error(fmt::format("{}: there is no pool here", path.string()));
        return Database(
            path, options_.read_only ? Database::Mode::kReadOnly : Database::Mode::kReadWrite);
      }()) {
  if (!options_.clock) options_.clock = system_seconds;
  if (!options_.read_only) prepare();
  if (meta("format") != kPoolFormat) {
    throw Error(fmt::format("{}: not a pool of format {} (found '{}')", path.string(), kPoolFormat,
                            meta("format")));
  }
}

Pool::~Pool() = default;

void Pool::prepare() {
  database_.exec(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
      "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY");
  Transaction transaction(database_);
  if (single_integer(database_, "SELECT count(*) FROM sqlite_master") == 0) {
    database_.exec(kPoolSchema);
    Statement(database_, "INSERT INTO meta VALUES ('format', ?)").bind(kPoolFormat).run();
    Statement(database_, "INSERT INTO versions (id, created_at, note) VALUES (1, ?, 'first')")
        .bind(options_.clock())
        .run();
  }
  database_.exec(kKnowledgeSchema);  // files from before there was knowledge get its tables now
  transaction.commit();
}

int64_t Pool::set_sample(std::span<const JobRow> rows, const std::string& dataset_hash) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  const int64_t before = single_integer(database_, "SELECT count(*) FROM jobs");
  database_.exec("UPDATE jobs SET active = 0");
  const bool any_erased = single_integer(database_, "SELECT count(*) FROM erased") != 0;
  Statement erased(database_, "SELECT 1 FROM erased WHERE user_hash = ?");
  Statement insert(database_, fmt::format("INSERT INTO jobs (user, position, item, label, time, "
                                          "dataset_hash, active, state, wanted_version) VALUES "
                                          "(?, ?, ?, ?, ?, ?, 1, {}, 1) "
                                          "ON CONFLICT DO UPDATE SET active = 1, "
                                          "dataset_hash = excluded.dataset_hash",
                                          state_number(JobState::kPending)));
  for (const JobRow& row : rows) {
    if (any_erased) {
      const bool skip = erased.bind(erased_hash(row.user)).step();
      erased.reset();
      if (skip) continue;
    }
    bind_row(insert, row);
    insert.bind(dataset_hash).run();
  }
  const int64_t added = single_integer(database_, "SELECT count(*) FROM jobs") - before;
  transaction.commit();
  return added;
}

int64_t Pool::count_missing(std::span<const JobRow> rows, const Source& source,
                            int64_t candidates) const {
  const Guard guard(guard_);
  const int64_t source_id = find_source(database_, source);
  Statement erased(database_, "SELECT 1 FROM erased WHERE user_hash = ?");
  Statement count(database_, fmt::format("SELECT count(*) FROM jobs j JOIN answers a ON a.job = "
                                         "j.id WHERE j.user = ? AND j.position = ? AND j.item = ? "
                                         "AND j.label = ? AND j.time = ? AND {}",
                                         fresh(source_id)));
  int64_t missing = 0;
  for (const JobRow& row : rows) {
    const bool skip = erased.bind(erased_hash(row.user)).step();
    erased.reset();
    if (skip) continue;
    bind_row(count, row);
    count.step();
    missing += count.integer(0) < candidates ? 1 : 0;
    count.reset();
  }
  return missing;
}

int64_t Pool::adopt(const Source& source, int64_t candidates, const std::string& prompt_text) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  candidates_ = candidates;
  source_id_ = find_or_add_source(database_, source, prompt_text);
  adopt_version();
  database_.exec("UPDATE ledger SET status = 'interrupted' WHERE status = 'open'");
  database_.exec(
      fmt::format("UPDATE jobs AS j SET reason = '', state = CASE WHEN (SELECT count(*) FROM "
                  "answers a WHERE a.job = j.id AND {}) >= {} THEN {} ELSE {} END WHERE active = 1",
                  fresh(source_id_), candidates, state_number(JobState::kDone),
                  state_number(JobState::kPending)));
  // Of done jobs the fresh answers are current, and only they.
  const std::string of_done = fmt::format(
      "FROM jobs AS j WHERE j.id = a.job AND j.active = 1 AND j.state = {} AND a.superseded_by IS",
      state_number(JobState::kDone));
  database_.exec(fmt::format("UPDATE answers AS a SET superseded_by = {} {} NULL AND NOT {}",
                             version_unlocked(), of_done, fresh(source_id_)));
  database_.exec(fmt::format("UPDATE answers AS a SET superseded_by = NULL {} NOT NULL AND {}",
                             of_done, fresh(source_id_)));
  const int64_t left =
      single_integer(database_, fmt::format("SELECT count(*) FROM jobs WHERE active = 1 AND "
                                            "state = {}",
                                            state_number(JobState::kPending)));
  transaction.commit();
  return left;
}

void Pool::adopt_version() {
  const int64_t version = version_unlocked();
  const int64_t before =
      single_integer(database_, fmt::format("SELECT source FROM versions WHERE id = {}", version));
  if (before == 0) {
    database_.exec(
        fmt::format("UPDATE versions SET source = {} WHERE id = {}", source_id_, version));
  } else if (before != source_id_) {
    Statement(database_, "INSERT INTO versions (created_at, note, source) VALUES (?, ?, ?)")
        .bind(options_.clock())
        .bind("another reasoner, model, setting or prompt")
        .bind(source_id_)
        .run();
  }
}

std::vector<Claim> Pool::claim(int64_t count) {
  const Guard guard(guard_);
  const Relaxed relaxed(database_);
  Transaction transaction(database_);
  std::vector<Claim> claims;
  Statement find(database_,
                 fmt::format("SELECT j.id, j.user, j.position, j.item, j.label, j.time, (SELECT "
                             "count(*) FROM answers a WHERE a.job = j.id AND {}) FROM jobs j WHERE "
                             "j.active = 1 AND j.state = {} ORDER BY j.id LIMIT ?",
                             fresh(source_id_), state_number(JobState::kPending)));
  find.bind(count);
  while (find.step()) {
    claims.push_back({.job = find.integer(0),
                      .row = {.user = find.text(1),
                              .position = static_cast<int32_t>(find.integer(2)),
                              .item = find.text(3),
                              .label = static_cast<float>(find.real(4)),
                              .time = find.integer(5)},
                      .stored = find.integer(6)});
  }
  for (const Claim& claim : claims)
    set_state(claim.job, JobState::kClaimed, "");
  transaction.commit();
  return claims;
}

void Pool::set_state(int64_t job, JobState state, const std::string& reason) {
  Statement(database_, "UPDATE jobs SET state = ?, reason = ? WHERE id = ?")
      .bind(state_number(state))
      .bind(reason)
      .bind(job)
      .run();
}

void Pool::release(int64_t job) {
  const Guard guard(guard_);
  const Relaxed relaxed(database_);
  set_state(job, JobState::kPending, "");
}

void Pool::fail(int64_t job, const std::string& reason) {
  const Guard guard(guard_);
  set_state(job, JobState::kFailed, clean_text(reason));
}

int64_t Pool::begin_request(int64_t job, const Usage& bound) {
  const Guard guard(guard_);
  return open_request(job, bound);
}

int64_t Pool::open_request(std::optional<int64_t> job, const Usage& bound) {
  const Relaxed relaxed(database_);
  Statement(database_,
            "INSERT INTO ledger (job, version, at, status, prompt_tokens, completion_tokens, "
            "money, estimated, latency_ms) VALUES (?, ?, ?, 'open', ?, ?, ?, 1, 0)")
      .bind(job)
      .bind(version_unlocked())
      .bind(options_.clock())
      .bind(bound.prompt_tokens)
      .bind(bound.completion_tokens)
      .bind(bound.money)
      .run();
  return database_.last_insert_id();
}

void Pool::close_request(int64_t ledger, const std::string& status, const Usage& usage,
                         double latency_ms) {
  Statement(database_,
            "UPDATE ledger SET status = ?, prompt_tokens = ?, completion_tokens = ?, money = ?, "
            "estimated = ?, latency_ms = ? WHERE id = ?")
      .bind(status)
      .bind(usage.prompt_tokens)
      .bind(usage.completion_tokens)
      .bind(usage.money)
      .bind(usage.estimated ? 1 : 0)
      .bind(latency_ms)
      .bind(ledger)
      .run();
}

void Pool::end_request(int64_t ledger, const std::string& status, const Usage& usage,
                       double latency_ms) {
  const Guard guard(guard_);
  close_request(ledger, status, usage, latency_ms);
}

void Pool::store(std::span<const NewAnswer> answers, int64_t ledger, const Usage& usage,
                 double latency_ms) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  close_request(ledger, "ok", usage, latency_ms);
  insert_answers(answers);
  transaction.commit();
}

void Pool::store_batch(std::span<const NewAnswer> answers) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  insert_answers(answers);
  transaction.commit();
}

void Pool::insert_answers(std::span<const NewAnswer> answers) {
  const int64_t version = version_unlocked();
  const int64_t now = options_.clock();
  Statement insert(database_, fmt::format("INSERT INTO answers (job, candidate, {}) VALUES (?, ?, "
                                          "?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                          kWritingColumns));
  for (const NewAnswer& answer : answers) {
    insert.bind(answer.job).bind(answer.candidate);
    bind_writing(insert, answer, version, source_id_, now);
    insert.run();
  }
  for (size_t index = 0; index < answers.size(); ++index)
    if (index == 0 || answers[index].job != answers[index - 1].job) settle(answers[index].job);
}

void Pool::settle(int64_t job) {
  const int64_t have = single_integer(
      database_, fmt::format("SELECT count(*) FROM jobs j JOIN answers a ON a.job = j.id "
                             "WHERE j.id = {} AND {}",
                             job, fresh(source_id_)));
  if (have < candidates_) return;
  set_state(job, JobState::kDone, "");
  database_.exec(
      fmt::format("UPDATE answers AS a SET superseded_by = {} FROM jobs AS j WHERE "
                  "a.job = {} AND j.id = a.job AND a.superseded_by IS NULL AND NOT {}",
                  version_unlocked(), job, fresh(source_id_)));
}

void Pool::forget_scores(const std::string& scoring) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  Statement(database_, "INSERT OR REPLACE INTO meta VALUES ('scoring', ?)").bind(scoring).run();
  database_.exec(
      "UPDATE answers SET coherence = NULL, completeness = NULL, relevance = NULL, consistency = "
      "NULL, score = NULL, accepted = NULL, reason = ''");
  transaction.commit();
}

void Pool::set_verdicts(std::span<const Verdict> verdicts) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  Statement update(database_,
                   "UPDATE answers SET coherence = ?, completeness = ?, relevance = ?, "
                   "consistency = ?, score = ?, accepted = ?, reason = ? WHERE id = ?");
  for (const Verdict& verdict : verdicts) {
    update.bind(verdict.scores.coherence)
        .bind(verdict.scores.completeness)
        .bind(verdict.scores.relevance)
        .bind(verdict.scores.consistency)
        .bind(verdict.scores.total)
        .bind(verdict.accepted ? 1 : 0)
        .bind(verdict.reason)
        .bind(verdict.answer)
        .run();
  }
  transaction.commit();
}

int64_t Pool::version_unlocked() const {
  return single_integer(database_, "SELECT max(id) FROM versions");
}

int64_t Pool::version() const {
  const Guard guard(guard_);
  return version_unlocked();
}

int64_t Pool::refresh(Refresh which, const std::string& note) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  Statement(database_, "INSERT INTO versions (created_at, note) VALUES (?, ?)")
      .bind(options_.clock())
      .bind(clean_text(note))
      .run();
  const int64_t version = database_.last_insert_id();
  const char* only = which == Refresh::kAll
                         ? ""
                         : " AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.job = jobs.id AND "
                           "a.superseded_by IS NULL AND a.accepted = 1)";
  database_.exec(fmt::format("UPDATE jobs SET state = {}, wanted_version = {} WHERE active = 1{}",
                             state_number(JobState::kPending), version, only));
  if (which == Refresh::kAll) {
    database_.exec(
        fmt::format("UPDATE knowledge_jobs SET state = {}, wanted_version = {} WHERE active = 1",
                    state_number(JobState::kPending), version));
  }
  transaction.commit();
  return version;
}

int64_t Pool::erase_user(const std::string& user) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  const std::string jobs = "(SELECT id FROM jobs WHERE user = ?)";
  Statement(database_, "DELETE FROM answers WHERE job IN " + jobs).bind(user).run();
  Statement(database_, "UPDATE ledger SET job = NULL WHERE job IN " + jobs).bind(user).run();
  Statement(database_, "DELETE FROM jobs WHERE user = ?").bind(user).run();
  int64_t removed = database_.changes();
  removed += erase_knowledge(user);
  Statement(database_, "INSERT OR IGNORE INTO erased (user_hash) VALUES (?)")
      .bind(erased_hash(user))
      .run();
  transaction.commit();
  wipe();
  return removed;
}

// Rewrites the file and empties the write-ahead log, so that no deleted byte is left in either.
void Pool::wipe() {
  database_.exec("VACUUM");
  Statement checkpoint(database_, "PRAGMA wal_checkpoint(TRUNCATE)");
  checkpoint.step();
  const bool busy = checkpoint.integer(0) != 0;
  checkpoint.reset();
  if (busy) {
    throw Error(fmt::format(
        "{}: the user is erased, but another program reads the pool and keeps old bytes in its "
        "write-ahead log; end it and erase again",
        path_.string()));
  }
}

void Pool::set_meta(const std::string& key, const std::string& value) {
  const Guard guard(guard_);
  Statement(database_, "INSERT OR REPLACE INTO meta VALUES (?, ?)").bind(key).bind(value).run();
}

GenerationLock::GenerationLock(const Pool& pool) {
  const std::string path = pool.path().string() + ".lock";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw Error(fmt::format("{}: {}", path, std::strerror(errno)));
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    close(descriptor_);
    throw Error(fmt::format("{}: another process fills this pool; wait for it or end it", path));
  }
}

GenerationLock::~GenerationLock() {
  close(descriptor_);
}

}  // namespace llmcf::cot
