// How the rows of one embedding table move: the sparse side of the optimisers.
//
// Invariants:
//  1. Only rows named in a call are touched; calls on disjoint rows may run at the same time.
//  2. Dense-equivalent Adam: a row whose last step is s holds what dense Adam held after step s.
//     catch_up() replays the missed steps (gradient = weight decay only) before the row is read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "nn/kernels/adam.h"
#include "nn/optimizer_options.h"

namespace llmcf::nn {

using NamedTensor = std::pair<std::string, torch::Tensor>;

// Steps made so far and the scales of those that some row may still miss.
class StepClock {
 public:
  explicit StepClock(const OptimizerOptions& options);

  int64_t step() const { return step_; }  // 0 before the first
  void begin_step(double learning_rate);  // step() becomes the step in progress
  // All rows are current: forgets the scales.
  void forget() { scales_.clear(); }
  void restart(int64_t step);

  kernels::AdamScale scale() const { return scales_.back(); }  // of step()
  // Scales of the steps after `last`, up to step().
  const kernels::AdamScale* after(int64_t last) const {
    return scales_.data() + (static_cast<int64_t>(scales_.size()) - (step_ - last));
  }
  const kernels::AdamConstants& constants() const { return constants_; }
  double learning_rate() const { return learning_rate_; }  // of step()

 private:
  kernels::AdamConstants constants_;
  double beta1_, beta2_;
  double learning_rate_ = 0;
  int64_t step_ = 0;
  std::vector<kernels::AdamScale> scales_;
};

class RowUpdater {
 public:
  virtual ~RowUpdater() = default;
  // Brings rows up to the clock's step.
  virtual void catch_up(std::span<const int32_t> rows) = 0;
  // Makes the clock's step on rows; `gradient` is [rows, width].
  virtual void update(std::span<const int32_t> rows, const float* gradient) = 0;
  // Names without prefix ("first", "second", ...); the tensors are the state itself.
  virtual std::vector<NamedTensor> state() = 0;
  // After state() was overwritten: every row is current at the clock's step.
  virtual void state_loaded() = 0;
};

// By options.kind. `values` [V, width] and `clock` must outlive the updater.
std::unique_ptr<RowUpdater> make_row_updater(const OptimizerOptions& options, torch::Tensor values,
                                             const StepClock& clock);

}  // namespace llmcf::nn
