// From units of a SequenceStore to the arrays of a models::SequenceBatch. No libtorch.
//
// A builder keeps scratch memory: one per thread. The content of a batch depends on the units and
// the draw alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "models/options.h"
#include "models/sequence_batch.h"
#include "train/sequence_store.h"

namespace llmcf::train {

// Which negatives a training batch draws.
struct NegativeDraw {
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t batch = 0;
};

class SequenceBuilder {
 public:
  SequenceBuilder(const SequenceStore& store, const models::ModelOptions& model);
  ~SequenceBuilder();

  // `units` are places in `from.units`. Targets and negatives only with a draw.
  void build(data::Split split, const SequenceUnits& from, std::span<const int64_t> units,
             const NegativeDraw* draw, models::SequenceBatch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::train
