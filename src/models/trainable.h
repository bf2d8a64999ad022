// A model with its optimiser, for rooms that do not want to see libtorch: what all kinds of models
// share, which is their state on its way to and from safetensors files.
//
// Invariants:
//  1. Training that continues from saved state and optimiser state takes exactly the steps it would
//     have taken.
//  2. Embedding rows may lag behind between steps; whatever reads them brings them up to date
//  first.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/safetensors.h"

namespace llmcf::models {

// Frozen vectors, row-major, owned by the caller (a mapped file) and unchanged while the model
// lives. Empty where the context source reads none.
struct FrozenTables {
  std::span<const float> item_text;  // [rows of the item table, W]; row 0 zeros
  std::span<const float> cot;        // [N, W], one row per example
};

struct StepLosses {
  double total = 0;
  double click = 0;           // of the task: clicks, or the next item
  double reconstruction = 0;  // before its weight; 0 where there is none
  double distillation = 0;    // before its weight; 0 where there is none
  bool finite() const;
};

class Trainable {
 public:
  virtual ~Trainable() = default;

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

 protected:
  struct Core;
  virtual Core& core() = 0;
  const Core& core() const;
};

}  // namespace llmcf::models
