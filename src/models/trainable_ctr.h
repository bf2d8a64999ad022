// A click model with its optimiser, for rooms that do not want to see libtorch: one call trains a
// batch, one predicts, and the state goes to and from safetensors files.
//
// Invariants:
//  1. The same seed, options and batches give the same numbers (for the same number of threads).
//  2. Dropout depends on the seed and the number of the step only.
//
// Not thread-safe.
//
//   TrainableCtr model(spec, ModelOptions::from(run.section("model"), "strict"),
//                      nn::OptimizerOptions::from(run.section("train")), {texts, cots}, seed);
//   for (const Batch& batch : batches) {
//     const StepLosses losses = model.train_step(batch);
//     if (!losses.finite()) ...            // nothing was updated: name the batch and stop
//   }
//   const Prediction prediction = model.predict(batch);
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/batch.h"
#include "models/options.h"
#include "models/trainable.h"
#include "nn/optimizer_options.h"

namespace llmcf::models {

struct Prediction {
  std::vector<float> logits;         // [B]
  std::vector<float> probabilities;  // [B] float32 sigmoid of the logits
  std::vector<float> gate;           // [B] how far each row's context gate is open; empty = none
};

class TrainableCtr final : public Trainable {
 public:
  // Throws Error naming the option or table that does not fit.
  TrainableCtr(const FeatureSpec& spec, const ModelOptions& options,
               const nn::OptimizerOptions& optimizer, const FrozenTables& frozen, uint64_t seed);
  ~TrainableCtr() override;
  TrainableCtr(TrainableCtr&&) noexcept;
  TrainableCtr& operator=(TrainableCtr&&) noexcept;

  // Forward, backward, update. If the loss is not finite, nothing is updated.
  StepLosses train_step(const Batch& batch);
  // The training loss of a batch in evaluation mode (no dropout), without gradients.
  StepLosses evaluate_loss(const Batch& batch);
  Prediction predict(const Batch& batch);

 private:
  struct Parts;
  Core& core() override;

  std::unique_ptr<Parts> parts_;
};

}  // namespace llmcf::models
