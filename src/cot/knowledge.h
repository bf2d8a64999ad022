// What a reasoner knows about users and items, as the knowledge-augmented variant (KAR) reads it:
// which texts are needed, and having them written. (Xi et al., RecSys 2024, as run in the paper's
// comparison.)
//
// Leak safety: a text about a user's whole training history was written from the very items the
// training rows ask about. So users are written about at prefixes of their history, of lengths 1,
// 2, 4, 8, ..., and a row after p items reads the longest prefix that is not longer than p; a row
// without history reads none. `reason.user_prefixes: whole` (protocol paper) is the published way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cot/answer_loop.h"
#include "cot/generate.h"
#include "cot/knowledge_pool.h"
#include "cot/row_resolver.h"
#include "data/dataset.h"
#include "data/rows.h"

namespace llmcf::cot {

// The prefix of its user's history that a row reads about.
class UserPrefixes {
 public:
  // `whole`: one prefix per user, all of the training history.
  UserPrefixes(const data::Dataset& dataset, const data::RowSet& rows, bool whole);

  // Length of the prefix for a row after `position` items; 0 = none.
  int32_t of(int32_t user, int32_t position) const;
  // The next shorter prefix, for when a text is missing; 0 = none.
  int32_t shorter(int32_t prefix) const { return whole_.empty() ? prefix / 2 : 0; }

 private:
  std::vector<int32_t> whole_;  // [num_users + 1]; empty = powers of two
};

struct KnowledgeInput {
  const data::Dataset& dataset;
  const data::RowSet& rows;
  const Prompt& prompt;  // of the kind's use
  const Reasoner& reasoner;
};

// The jobs of a kind: every prefix that some row of any split reads, every item of the catalogue.
// `max_history`: items of a prefix that are shown, the last ones; 0 = all.
std::vector<KnowledgeJob> user_jobs(const data::Dataset& dataset, const data::RowSet& rows,
                                    const UserPrefixes& prefixes, int64_t max_history);
std::vector<KnowledgeJob> item_jobs(const data::Dataset& dataset);

struct KnowledgeReport {
  int64_t jobs = 0;
  int64_t added = 0;     // of them new in the pool
  int64_t answered = 0;  // by this call
  int64_t failed = 0;
  int64_t remaining = 0;  // still without an answer
  std::string stopped;    // why it ended before all was done; empty if all is done
};

// Has the jobs of `kind` (kUser, kItem or kTeach) answered. As generate(): killed anywhere, the
// next call goes on; nothing is asked twice; budget and ledger are the pool's.
KnowledgeReport generate_knowledge(JobKind kind, const KnowledgeInput& input,
                                   const std::vector<KnowledgeJob>& jobs, Pool& pool,
                                   const GenerateOptions& options);

// What generate_knowledge() would do. `pool` may be null.
Estimate estimate_knowledge(JobKind kind, const KnowledgeInput& input,
                            const std::vector<KnowledgeJob>& jobs, Pool* pool,
                            const GenerateOptions& options);

// Hash of the texts of the items a job shows, so that a changed history or catalogue is asked about
// again.
std::string shown_hash(const data::Dataset& dataset, std::span<const int32_t> history,
                       int32_t target, int64_t max_history);

}  // namespace llmcf::cot
