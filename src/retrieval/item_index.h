// All items of a catalogue against user vectors, by inner product and exactly: blocks of a matrix
// product with a streaming selection, never the matrix of all scores. No libtorch.
//
//   Q queries   D width   k best items
//
// Invariants:
//  1. A score does not depend on blocks or threads (kernels.h).
//  2. Of two items with equal scores the one with the lower id comes first, in ranks and in lists.
//  3. Memory beside the packed vectors: kBlockQueries * kBlockItems floats per thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "retrieval/packed_pool.h"

namespace llmcf::retrieval {

// Items that a query's user has seen, in any order, repetitions allowed.
using SeenItems = std::function<std::span<const int32_t>(int64_t query)>;

// How many items stand before each query's target (0 = it is the best).
struct TargetRanks {
  std::vector<int32_t> all;     // [Q] among all items
  std::vector<int32_t> unseen;  // [Q] without what the user has seen; the target itself stays
};

// The distinct ones of `items`, ascending.
std::vector<int32_t> distinct_items(std::span<const int32_t> items);

// The best items of each query, best first; item 0 with score 0 where there are fewer than k.
struct BestItems {
  // `wanted` is k. Nothing found yet. Throws Error unless k >= 1.
  BestItems(int64_t queries, int64_t wanted);
  // The lists of the first `queries` queries.
  BestItems first(int64_t queries) const;

  int64_t k;
  std::vector<int32_t> items;  // [Q, k]
  std::vector<float> scores;   // [Q, k]
};

class ItemIndex {
 public:
  // `vectors` [items + 1, width], row-major; row 0 (padding) is not an item. Copied.
  ItemIndex(std::span<const float> vectors, int64_t width);

  int64_t items() const { return items_; }
  int64_t width() const { return width_; }
  std::span<const float> vectors() const { return rows_; }  // [items + 1, width]

  // How many queries `queries` holds; throws Error if that is no whole number.
  int64_t count(std::span<const float> queries) const;
  // The inner product as every list and rank has it; `query` [width], item in [1, items].
  float score(const float* query, int32_t item) const;

  // queries [Q, width]; targets [Q], each in [1, items]. Throws Error if sizes do not fit or a
  // score is not a number.
  TargetRanks ranks(std::span<const float> queries, std::span<const int32_t> targets,
                    const SeenItems& seen) const;

  // The k best items of each query; those of `seen` (if given) are left out.
  BestItems best(std::span<const float> queries, int64_t k, const SeenItems& seen = {}) const;

 private:
  // Calls body(first item, scores [queries of the block, kBlockItems]) for all blocks of items.
  template <typename Body>
  void scan(std::span<const float> queries, int64_t first, int64_t count, const Body& body) const;

  int64_t items_ = 0;
  int64_t width_ = 0;
  std::vector<float> rows_;  // [items + 1, width]
  AlignedFloats columns_;    // column panels of items 1, 2, ...
};

}  // namespace llmcf::retrieval
