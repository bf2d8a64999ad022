// A sequence model with its optimiser, for rooms that do not want to see libtorch. See trainable.h.
//
// Dropout depends on the seed and the number of the step only. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/options.h"
#include "models/sequence_batch.h"
#include "models/trainable.h"
#include "nn/optimizer_options.h"

namespace llmcf::models {

class TrainableSequence final : public Trainable {
 public:
  // Throws Error naming the option or table that does not fit.
  TrainableSequence(const SequenceData& data, const ModelOptions& options,
                    const nn::OptimizerOptions& optimizer, const FrozenTables& frozen,
                    uint64_t seed);
  ~TrainableSequence() override;
  TrainableSequence(TrainableSequence&&) noexcept;
  TrainableSequence& operator=(TrainableSequence&&) noexcept;

  // Forward, backward, update. If the loss is not finite, nothing is updated.
  StepLosses train_step(const SequenceBatch& batch);
  // The queries' states in evaluation mode, [Q, D] row-major: score items by inner product.
  std::vector<float> states(const SequenceBatch& batch);
  // [items + 1, D] row-major; row 0 is padding.
  std::vector<float> item_vectors();

 private:
  struct Parts;
  Core& core() override;

  std::unique_ptr<Parts> parts_;
};

}  // namespace llmcf::models
