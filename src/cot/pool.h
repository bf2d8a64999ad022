// The pool: every job (a training row that gets a chain of thought), every answer that was ever
// bought for it, and what each request cost. One SQLite file in WAL mode.
//
// Invariants:
//  1. An answer is durable (fsynced) before store() returns: a kill -9 loses none, and a job whose
//     answers are stored is never claimed again.
//  2. Refreshing adds and supersedes; only erase_user() deletes. Rejected answers stay, with their
//     reason.
//  3. A job is done when it has the wanted number of fresh answers: of the present source
//  (reasoner,
//     model, settings, prompt) and of a version not older than the job wants. Its fresh answers are
//     the current ones (`superseded_by` is null); until it is done, older ones stay current.
//  4. A request is in the ledger, with the most it can cost, before it is sent: what a kill
//     interrupts still counts against the budget (a power cut may lose this note, a kill not).
//
// Thread safety: all methods lock; one Pool may be shared by threads. One process at a time
// generates (GenerationLock); others may read meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/sqlite.h"

namespace llmcf::cot {

// A training row by the names of the input, so that it outlives re-imports: the job's identity.
struct JobRow {
  std::string user;
  int32_t position = 0;  // length of the history
  std::string item;
  float label = 0;   // 0 or 1: what the user did
  int64_t time = 0;  // Unix seconds

  bool operator==(const JobRow&) const = default;
};

enum class JobState { kPending, kClaimed, kDone, kFailed };
std::string_view job_state_name(JobState state);  // "pending", "claimed", "done", "failed"

// What writes the answers. Another source means other answers are wanted.
struct Source {
  std::string kind;         // "template", "endpoint"
  std::string model;        // "template" or the model's name at the endpoint
  std::string prompt_hash;  // Prompt::hash()
  std::string settings;     // fingerprint of what else changes answers (temperature, ...)

  // Hash of all four.
  std::string key() const;
};

// What a job is about: a training row's chain of thought, a user's preferences after some history,
// an item's facts, a teacher's verdict on a row.
enum class JobKind { kRow, kUser, kItem, kTeach };
std::string_view job_kind_name(JobKind kind);  // "row", "user", "item", "teach"

struct Claim {
  int64_t job = 0;
  JobRow row;          // of knowledge jobs: user and position, item, or all three
  int64_t stored = 0;  // fresh answers it has already: the index of the next candidate
};

// What one request used. `estimated`: the server did not say, so an upper estimate.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  double money = 0;
  bool estimated = false;
};

// The paper's four terms (scoring.h) and their weighted mean, each in [0, 1].
struct Scores {
  double coherence = 0;  // coherence_v2
  double completeness = 0;
  double relevance = 0;
  double consistency = 0;
  double total = 0;
};

// Log-probabilities of the two answers a teacher may give.
struct YesNo {
  double yes = 0;
  double no = 0;
};

struct NewAnswer {
  int64_t job = 0;
  int64_t candidate = 0;
  std::string text{};
  std::string finish_reason{};  // "stop", "length", ...
  Usage usage{};                // its share of the request's
  double latency_ms = 0;
  std::optional<YesNo> verdict{};  // of a teacher
};

struct Answer : NewAnswer {
  int64_t id = 0;
  int64_t version = 0;
  Source source;
  int64_t created_at = 0;  // Unix seconds
  std::optional<Scores> scores;
  std::optional<bool> accepted;          // null = not scored yet
  std::string reason;                    // why it was rejected
  std::optional<int64_t> superseded_by;  // version; null = current
};

struct Verdict {
  int64_t answer = 0;
  Scores scores{};
  bool accepted = false;
  std::string reason{};
};

// The best accepted, current answer of an active job.
struct Accepted {
  JobRow row;
  int64_t answer = 0;
  double score = 0;
  std::string text;
  std::string reasoner;  // "template", "endpoint:<model>"
};

struct Spending {
  int64_t requests = 0;
  int64_t failed_requests = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  double money = 0;

  int64_t tokens() const { return prompt_tokens + completion_tokens; }
};

struct PoolStats {
  int64_t version = 0;
  std::map<std::string, int64_t> jobs;               // by state, active ones
  int64_t inactive_jobs = 0;                         // not in the present sample; kept
  int64_t answers = 0;                               // all, of any version
  int64_t accepted = 0, rejected = 0, unscored = 0;  // current ones
  int64_t superseded = 0;
  Scores mean;                                // over current accepted answers
  std::map<std::string, int64_t> reasoners;   // current answers by "template", "endpoint:<model>"
  std::map<std::string, int64_t> rejections;  // current rejected answers by reason
  Spending spent;                             // since the pool began
  struct Knowledge {
    std::map<std::string, int64_t> jobs;       // by state, active ones
    std::map<std::string, int64_t> reasoners;  // answers by writer
  };
  std::map<std::string, Knowledge> knowledge;  // by kind: "user", "item", "teach"
};

struct PoolOptions {
  bool read_only = false;            // the file must exist
  std::function<int64_t()> clock{};  // Unix seconds; empty = the system's
};

// Jobs that an Asker works on: claimed one by one, answered through the ledger.
class JobQueue {
 public:
  virtual ~JobQueue() = default;

  // Claims up to `count` pending jobs in order of their ids. Empty when there are none left.
  virtual std::vector<Claim> claim(int64_t count) = 0;
  // Gives a claimed job back (cancelled, or out of budget).
  virtual void release(int64_t job) = 0;
  // Marks a claimed job failed; the next generation makes it pending again.
  virtual void fail(int64_t job, const std::string& reason) = 0;
  // Notes that a request is about to be sent which costs at most `bound`. Returns the ledger id.
  virtual int64_t begin_request(int64_t job, const Usage& bound) = 0;
  // What became of it without an answer: status is a short word ("429", "timeout", "broken_json").
  virtual void end_request(int64_t ledger, const std::string& status, const Usage& usage,
                           double latency_ms) = 0;
  // Stores one job's answers and closes their request, durably. The job is done when it has the
  // wanted number of fresh answers; until then it stays claimed.
  virtual void store(std::span<const NewAnswer> answers, int64_t ledger, const Usage& usage,
                     double latency_ms) = 0;
  // The same for answers without requests, of many jobs, in one transaction.
  virtual void store_batch(std::span<const NewAnswer> answers) = 0;
};

class Pool final : public JobQueue {
 public:
  // Creates the file if it is missing. Throws Error if it is no pool or of another format version.
  explicit Pool(const std::filesystem::path& path, PoolOptions options = {});
  ~Pool() override;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // --- jobs ---
  // Makes `rows` the active sample: unknown ones are added, jobs outside it are kept but inactive.
  // Rows of erased users are left out. Returns how many were added. Idempotent.
  int64_t set_sample(std::span<const JobRow> rows, const std::string& dataset_hash);
  // Which of `rows` would still need answers from `source`; changes nothing (for estimates).
  int64_t count_missing(std::span<const JobRow> rows, const Source& source,
                        int64_t candidates) const;
  // Begins generation: recomputes every active job's state for `source` and `candidates`, takes
  // back the claims of a killed process, makes answers of this source current again where a job has
  // enough of them. Another source than before begins a new version. Returns the jobs still to do.
  int64_t adopt(const Source& source, int64_t candidates, const std::string& prompt_text);
  std::vector<Claim> claim(int64_t count) override;
  void release(int64_t job) override;
  void fail(int64_t job, const std::string& reason) override;

  // --- requests and answers ---
  int64_t begin_request(int64_t job, const Usage& bound) override;
  void end_request(int64_t ledger, const std::string& status, const Usage& usage,
                   double latency_ms) override;
  void store(std::span<const NewAnswer> answers, int64_t ledger, const Usage& usage,
             double latency_ms) override;
  void store_batch(std::span<const NewAnswer> answers) override;

  // Current answers of the active sample without a verdict, in order of their ids.
  std::vector<std::pair<Answer, JobRow>> unscored(int64_t limit) const;
  // Forgets all verdicts (other weights or encoder): answers are scored again. `scoring` is what
  // meta("scoring") says from then on.
  void forget_scores(const std::string& scoring);
  void set_verdicts(std::span<const Verdict> verdicts);

  // --- versions and erasure ---
  int64_t version() const;
  // Begins a new version in which active jobs want new answers: all of them, or only those without
  // an accepted one. Old answers stay current until the new ones are stored. Returns the version.
  enum class Refresh { kAll, kRejected };
  int64_t refresh(Refresh which, const std::string& note);
  // Removes the user's jobs and answers and every byte of them from the file; the user is not
  // sampled again. Returns the number of jobs removed.
  int64_t erase_user(const std::string& user);

  // --- reading ---
  std::vector<Accepted> accepted() const;
  // All answers of the jobs of a user (empty: of everybody), current ones first.
  struct Shown {
    int64_t job = 0;
    JobRow row;
    JobState state = JobState::kPending;
    bool active = true;
    std::vector<Answer> answers;
  };
  std::vector<Shown> show(const std::string& user, int64_t limit) const;
  // The same for knowledge; items only if no user is named.
  struct ShownKnowledge {
    std::string kind, user, item;
    int32_t position = 0;
    JobState state = JobState::kPending;
    std::string reasoner, text;  // the latest answer; empty without one
    std::optional<YesNo> verdict;
  };
  std::vector<ShownKnowledge> show_knowledge(const std::string& user, int64_t limit) const;
  // Whoever has a job here.
  std::vector<std::string> users() const;
  PoolStats stats() const;
  // Of the present version, or since the pool began.
  Spending spent(bool this_version_only) const;
  // Changes when accepted() does.
  std::string content_hash() const;
  std::string meta(const std::string& key) const;  // "" if absent
  void set_meta(const std::string& key, const std::string& value);

  // --- JSON lines ---
  // Everything in the pool, one object per line, in a fixed order.
  void export_jsonl(const std::filesystem::path& path) const;
  // Into an empty pool; all or nothing. Throws InputError with file and line. Exporting again gives
  // the same bytes.
  void import_jsonl(const std::filesystem::path& path);

 private:
  friend class KnowledgePool;

  void prepare();
  void adopt_version();
  int64_t open_request(std::optional<int64_t> job, const Usage& bound);
  int64_t erase_knowledge(const std::string& user);
  void count_knowledge(PoolStats& stats) const;
  void set_state(int64_t job, JobState state, const std::string& reason);
  void close_request(int64_t ledger, const std::string& status, const Usage& usage,
                     double latency_ms);
  void insert_answers(std::span<const NewAnswer> answers);
  void settle(int64_t job);
  void wipe();
  int64_t version_unlocked() const;

  std::filesystem::path path_;
  PoolOptions options_;
  mutable std::mutex guard_;
  mutable Database database_;
  int64_t source_id_ = 0;  // of adopt()
  int64_t candidates_ = 1;
};

// Held by the one process that generates; given back by the system when that process ends in any
// way. Throws Error if another process holds it.
class GenerationLock {
 public:
  explicit GenerationLock(const Pool& pool);
  ~GenerationLock();
  GenerationLock(const GenerationLock&) = delete;
  GenerationLock& operator=(const GenerationLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace llmcf::cot
