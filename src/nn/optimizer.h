// One optimiser over dense parameters and embedding tables.
//
// Invariants:
//  1. Dense parameters: one pass over weights, gradients and moments per step, the arithmetic of
//     torch::optim::Adam (AdamW for the sparse kinds). A parameter without a gradient is left
//     alone.
//  2. Tables move through nn/row_updaters.h; rows may lag until they are gathered or flush() runs.
//  3. State saved after flush() and loaded again continues bit for bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "nn/embedding.h"
#include "nn/row_updaters.h"

namespace llmcf::nn {

// What a batch did to one table.
struct SlabGradient {
  const std::vector<int32_t>* rows = nullptr;  // distinct, ascending
  torch::Tensor slab;                          // the leaf that EmbeddingTable::gather returned
};

class Optimizer {
 public:
  // Becomes the updater of every table, which must outlive it.
  Optimizer(const OptimizerOptions& options, std::vector<NamedTensor> parameters,
            std::vector<EmbeddingTable*> tables);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Moves everything by the gradients that are there, then drops them. slabs[t] belongs to table t.
  void step(const std::vector<SlabGradient>& slabs);
  // Drops gradients without a step.
  void zero_grad();
  // Brings every row of every table up to date: before evaluation and checkpoints.
  void flush();

  int64_t steps() const { return clock_.step(); }
  double learning_rate() const { return options_.learning_rate; }
  void set_learning_rate(double rate) { options_.learning_rate = rate; }

  // Moments by name ("optimizer.first.<parameter>", ...), flushed. Beside them save steps().
  std::vector<NamedTensor> state();
  // `fill` writes the saved values of a name into the tensor.
  void load_state(int64_t steps, const std::function<void(const NamedTensor&)>& fill);

 private:
  struct Dense {
    std::string name;
    torch::Tensor parameter, first, second;
  };
  void step_dense();

  OptimizerOptions options_;
  StepClock clock_;
  std::vector<Dense> dense_;
  std::vector<EmbeddingTable*> tables_;
  std::vector<std::unique_ptr<RowUpdater>> updaters_;  // one per table
};

}  // namespace llmcf::nn
