// The best items of a large catalogue without looking at all of them: faiss proposes from inverted
// lists of byte codes, the exact index scores the proposals. No libtorch.
//
// Invariants:
//  1. A list is ordered, and its items scored, exactly as ItemIndex::best would; an item that was
//     not proposed is missing, nothing else differs. With every list probed and a surplus that
//     covers the catalogue the two are equal.
//  2. The same vectors, options and threads give the same index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "retrieval/item_index.h"

namespace llmcf::retrieval {

struct ApproximateOptions {
  int64_t lists = 0;    // cells that k-means divides the items into; 0 = about 2 sqrt(items)
  int64_t probes = 0;   // cells looked into per query; 0 = a 32nd of them, at least 1
  int64_t surplus = 4;  // proposals per item asked for, beside what the user has seen
  int64_t seed = 2023;  // of k-means
};

class ApproximateItems {
 public:
  // `exact` must outlive this. Throws Error if an option is out of range.
  ApproximateItems(const ItemIndex& exact, const ApproximateOptions& options);
  ~ApproximateItems();

  int64_t lists() const;
  int64_t probes() const;
  // Not thread-safe; throws Error unless in [1, lists()].
  void set_probes(int64_t probes);

  // As ItemIndex::best, out of what is proposed; item 0 with score 0 where that is fewer than k.
  BestItems best(std::span<const float> queries, int64_t k, const SeenItems& seen = {}) const;

 private:
  struct Proposer;
  const ItemIndex& exact_;
  int64_t surplus_;
  std::unique_ptr<Proposer> proposer_;
};

// The share of `exact`'s items that are in the same query's list of `other`; 1 if there is none.
// Throws Error if the two are not lists of the same queries and k.
double recall(const BestItems& exact, const BestItems& other);

}  // namespace llmcf::retrieval
