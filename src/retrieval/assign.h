// Which K examples of the pool every row gets: exact search, label-balanced, time-safe.
//
//   score(q, c) = a h(q).h(c) + (1 - a) t(q).t(c)
//
// h is the mean text vector of the whole history (neither truncated nor normalised again), t the
// text vector of the target item (Sun et al., CIKM 2024, section 3.3). Of the eligible examples
// (see options.h) with score >= min_similarity, the `positives` best with label 1 and the
// k - positives best with label 0 fill the slots; missing ones are masked.
//
// Invariants:
//  1. Equal scores are broken by time (later first), then by example id (lower first). Scores are
//     computed in one fixed order of operations, so the result is the same for any number of
//     threads and any block size. (A processor without fused multiply-add may differ in the last
//     bit of a score.)
//  2. Masked slots (id -1, similarities 0) come first; the best example comes last (similar_last).
//
// Cost: queries with the same (user, position, time) share their history half; the target half is
// computed once per distinct target; a block of queries meets only the examples old enough for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "retrieval/history_vectors.h"
#include "retrieval/options.h"

namespace llmcf::retrieval {

// N examples. All spans have the same length.
struct Pool {
  std::span<const int32_t> user;
  std::span<const int32_t> item;
  std::span<const int32_t> position;  // length of the history
  std::span<const float> label;       // >= 0.5 counts as 1
  std::span<const int64_t> time;      // Unix seconds

  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

// Q rows. All spans have the same length.
struct Queries {
  std::span<const int32_t> user;
  std::span<const int32_t> item;
  std::span<const int32_t> position;
  std::span<const int64_t> time;

  static Queries of(const data::Rows& rows) {
    return {.user = rows.user, .item = rows.item, .position = rows.position, .time = rows.time};
  }
  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

struct Assignment {
  int64_t rows = 0;                       // Q
  int64_t k = 0;                          // K
  std::vector<int32_t> ids;               // [Q, K] index into the pool, -1 = masked
  std::vector<float> similarity;          // [Q, K] score, 0 where masked
  std::vector<float> history_similarity;  // [Q, K] h(q).h(c), without its weight
  std::vector<float> target_similarity;   // [Q, K] t(q).t(c), without its weight
  std::vector<float> alignment = {};      // [Q] h(q).t(q): the row itself, no example

  std::span<const int32_t> ids_of(int64_t row) const {
    return std::span(ids).subspan(static_cast<size_t>(row * k), static_cast<size_t>(k));
  }
  std::span<const float> similarity_of(int64_t row) const {
    return std::span(similarity).subspan(static_cast<size_t>(row * k), static_cast<size_t>(k));
  }

  // Safetensors: ids, similarity, history_similarity, target_similarity, each [Q, K]; alignment
  // [Q].
  void save(const std::filesystem::path& path) const;
  // Throws InputError if the file is missing, damaged or of another format.
  static Assignment load(const std::filesystem::path& path);
};

// How the work is cut; changes speed and memory, never the result.
struct AssignTuning {
  int64_t table_bytes = 128 << 20;    // target half: [distinct targets, block of examples] floats
  int64_t history_bytes = 256 << 20;  // history vectors held at once
  int64_t block_columns = 2048;       // examples per inner block
};

// What a run cost, for benchmarks and logs.
struct AssignCost {
  double flops = 0;  // multiplications and additions of the matrix products
};

// Assigns examples to the rows of several splits in one go (the target half is shared); result i
// belongs to parts[i]. Throws Error if spans disagree in length or an id is out of range.
std::vector<Assignment> assign(const Pool& pool, std::span<const Queries> parts, const Texts& texts,
                               const HistoryLookup& histories, const RetrievalOptions& options,
                               const AssignTuning& tuning = {}, AssignCost* cost = nullptr);

inline Assignment assign(const Pool& pool, const Queries& queries, const Texts& texts,
                         const HistoryLookup& histories, const RetrievalOptions& options,
                         const AssignTuning& tuning = {}, AssignCost* cost = nullptr) {
  return std::move(
      assign(pool, std::span(&queries, 1), texts, histories, options, tuning, cost)[0]);
}

}  // namespace llmcf::retrieval
