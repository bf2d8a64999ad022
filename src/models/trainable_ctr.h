// A click model with its optimiser, for rooms that do not want to see libtorch: one call trains a
// batch, one predicts, and the state goes to and from safetensors files.
//
// Invariants:
//  1. The same seed, options and batches give the same numbers (for the same number of threads).
//  2. Dropout depends on the seed and the number of the step only: training that continues from
//     saved state and optimiser state takes exactly the steps it would have taken.
//  3. Embedding rows may lag behind between steps; predict(), add_state() and
//     add_optimizer_state() bring them up to date first.
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
#include <span>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/batch.h"
#include "models/options.h"
#include "nn/optimizer_options.h"

namespace llmcf::models {

// Frozen vectors, row-major, owned by the caller (a mapped file) and unchanged while the model
// lives. Empty where the context source reads none.
struct FrozenTables {
  std::span<const float> item_text;  // [rows of the item table, W]; row 0 zeros
  std::span<const float> cot;        // [N, W], one row per example
};

struct StepLosses {
  double total = 0;
  double click = 0;
  double reconstruction = 0;  // before its weight; 0 where there is none
  double distillation = 0;    // before its weight; 0 where there is none
  bool finite() const;
};

struct Prediction {
  std::vector<float> logits;         // [B]
  std::vector<float> probabilities;  // [B] float32 sigmoid of the logits
  std::vector<float> gate;           // [B] how far each row's context gate is open; empty = none
};

class TrainableCtr {
 public:
  // Throws Error naming the option or table that does not fit.
  TrainableCtr(const FeatureSpec& spec, const ModelOptions& options,
               const nn::OptimizerOptions& optimizer, const FrozenTables& frozen, uint64_t seed);
  ~TrainableCtr();
  TrainableCtr(TrainableCtr&&) noexcept;
  TrainableCtr& operator=(TrainableCtr&&) noexcept;

  // Forward, backward, update. If the loss is not finite, nothing is updated.
  StepLosses train_step(const Batch& batch);
  // The training loss of a batch in evaluation mode (no dropout), without gradients.
  StepLosses evaluate_loss(const Batch& batch);
  Prediction predict(const Batch& batch);

  // Brings every embedding row up to date. Optional: predict() does it for the rows it reads, but
  // once before an evaluation is cheaper than row by row.
  void flush();

  int64_t steps() const;  // updates made so far
  int64_t parameters() const;
  double learning_rate() const;
  void set_learning_rate(double rate);

  // Adds every parameter and buffer under the names of the code's members (tables as
  // "tables.<name>"). The tensors stay valid until the model changes: write the file first.
  void add_state(SafetensorsWriter& writer);
  // Throws InputError naming file and tensor that is missing or has another shape. Resets nothing
  // else: load the optimiser's state too, or begin with a fresh model.
  void load_state(const SafetensorsReader& reader);
  // The same for moments and step numbers, under "optimizer."; may share a file with the state.
  void add_optimizer_state(SafetensorsWriter& writer);
  void load_optimizer_state(const SafetensorsReader& reader);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace llmcf::models
