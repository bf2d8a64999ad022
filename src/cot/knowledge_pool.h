// The part of the pool that is not about chains of thought: what a reasoner wrote about users and
// items, and a teacher's verdicts on rows. One view per kind; file, ledger, budget and versions are
// the pool's.
//
// Invariants: those of pool.h, with one answer per job. An answer stays current until a newer one
// of the adopted source is stored. An empty text about a user or an item is no answer: its job
// fails and is asked about again.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cot/pool.h"

namespace llmcf::cot {

// A job's identity: which of the names count depends on the kind.
struct KnowledgeJob {
  std::string user{};    // empty for items
  int32_t position = 0;  // length of the history that is shown or judged
  std::string item{};    // empty for users
  std::string input{};   // hash of the texts shown: other texts are another job
};

// An active job's current answer.
struct KnowledgeText {
  KnowledgeJob job;
  std::string text;
  std::string reasoner;  // "template", "endpoint:<model>"
  std::optional<YesNo> verdict;
};

class KnowledgePool final : public JobQueue {
 public:
  // `kind` is kUser, kItem or kTeach. The pool must outlive it.
  KnowledgePool(Pool& pool, JobKind kind);

  // Makes `jobs` the active ones of this kind; others are kept but inactive. Those of erased users
  // are left out. Returns how many are new. Idempotent.
  int64_t set_jobs(std::span<const KnowledgeJob> jobs);
  // Which of `jobs` would still need an answer from `source`; changes nothing.
  int64_t count_missing(std::span<const KnowledgeJob> jobs, const Source& source) const;
  // Begins generation, as Pool::adopt. Returns the jobs still to do.
  int64_t adopt(const Source& source, const std::string& prompt_text);
  int64_t remaining() const;  // active jobs that are not done

  std::vector<Claim> claim(int64_t count) override;
  void release(int64_t job) override;
  void fail(int64_t job, const std::string& reason) override;
  int64_t begin_request(int64_t job, const Usage& bound) override;
  void end_request(int64_t ledger, const std::string& status, const Usage& usage,
                   double latency_ms) override;
  void store(std::span<const NewAnswer> answers, int64_t ledger, const Usage& usage,
             double latency_ms) override;
  void store_batch(std::span<const NewAnswer> answers) override;

  // Current answers of the adopted source, in order of their jobs' ids.
  std::vector<KnowledgeText> current() const;
  // Changes when current() does.
  std::string content_hash() const;

 private:
  void set_state(int64_t job, JobState state, const std::string& reason);
  void insert(std::span<const NewAnswer> answers);
  std::string meta_key() const;

  Pool& pool_;
  std::string kind_;
  int64_t source_id_ = 0;  // of adopt()
};

}  // namespace llmcf::cot
