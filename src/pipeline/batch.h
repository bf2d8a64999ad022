// Batch use of a finished run: scores of given pairs (`llmcf score`), the best items of users
// (`llmcf recommend`). A user is taken with the whole history of the data set, at the end of the
// log.
//
// Invariants:
//  1. Stages that are stale run first, as `llmcf run` would; nothing of the workspace changes else.
//  2. The output is whole or absent.
//  3. Examples are as old as the log allows: every one of the pool may be shown, but the user's
//  own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pipeline/run_config.h"

namespace llmcf::pipeline {

struct BatchOptions {
  std::string variant;        // empty = the last one
  int64_t seed = 0;           // 0 = the first of the run
  std::filesystem::path out;  // .jsonl: JSON lines, else TSV with a header
};

// `pairs`: TSV with a header line and the columns user and item (names of the data set). Writes
// user, item and score: the probability of a click, or the inner product of a sequence model.
// Returns the number of pairs. Throws InputError naming file, line and the name that is not known.
int64_t score_pairs(const RunConfig& config, const std::filesystem::path& pairs,
                    const BatchOptions& options);

struct RecommendOptions {
  int64_t k = 10;
  std::filesystem::path users;  // one name per line; empty = everybody
  bool keep_seen = false;       // items of the user's history stay in
  bool approximate = false;     // lists from retrieval/approximate_items.h; recall is measured
  int64_t probes = 0;           // of its cells, per user; 0 = its default
};

struct Recommended {
  int64_t users = 0;
  double recall = 1;   // of approximate lists, over the first `judged` users
  int64_t judged = 0;  // 0 = the lists are exact
};

// The k best of all items for each user, best first: user, rank (from 1), item, score; as JSON
// lines one object per user. Throws Error if the run is not of a
// sequence backbone.
Recommended recommend(const RunConfig& config, const RecommendOptions& what,
                      const BatchOptions& options);

}  // namespace llmcf::pipeline
