// Walks over a split batch by batch while one background thread builds the next ones. No libtorch.
//
// Invariants:
//  1. Batches arrive in the order given, whatever the timing; their content does not depend on the
//  thread.
//  2. At most `depth` finished batches wait. Destroying the loader early stops the thread.
//  3. An exception of the builder is rethrown by next().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/rows.h"
#include "models/batch.h"
#include "train/feature_store.h"

namespace llmcf::train {

// Row numbers [0, count) in the order of an epoch (from 1): shuffled by Random(seed, "epoch
// <epoch>").
std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch);

struct LoadOptions {
  int64_t batch_size = 128;
  int64_t depth = 3;  // batches built ahead; 0 = build in next(), without a thread
};

class BatchLoader {
 public:
  // Rows `order` of `split`; an empty `order` means all of them in their own order. The last batch
  // may be short.
  BatchLoader(const FeatureStore& store, data::Split split, std::vector<int64_t> order,
              const LoadOptions& options);
  ~BatchLoader();

  // The next batch, valid until the following call; null at the end.
  const models::Batch* next();
  // The rows of the batch that next() returned last.
  std::span<const int64_t> batch_rows() const;
  int64_t num_batches() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::train
