// Turns row numbers of a split into a models::Batch. No libtorch.
//
// Invariants:
//  1. Everything in the batch is a function of the rows, their order and the store alone.
//  2. Buffers of the builder and of the batch are reused: after the first few batches nothing is
//  allocated.
//
// Thread safety: a builder belongs to one thread; any number of them may share one store.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "data/rows.h"
#include "models/batch.h"
#include "train/feature_store.h"

namespace llmcf::train {

class BatchBuilder {
 public:
  // REQUIRES: the store outlives the builder.
  explicit BatchBuilder(const FeatureStore& store);
  ~BatchBuilder();

  // Overwrites `batch`. REQUIRES: rows are in [0, rows(split).size()).
  void build(data::Split split, std::span<const int64_t> rows, models::Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::train
