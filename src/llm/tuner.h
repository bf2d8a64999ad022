// Instruction tuning of a whole model or of its adapters.
//
//   N rows   T tokens of a row   P trained parameters
//
// Invariants:
//  1. Trained parameters have fp32 masters whatever the model's dtype is; moments are fp32.
//  2. A run that was killed and started again continues from its last saved step to the same
//  losses:
//     the order of rows is a function of (seed, epoch), and dropout of (seed, step).
//  3. A step's loss is the mean over all targets of its rows, however they are split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "llm/adapter.h"
#include "llm/language_model.h"
#include "llm/packing.h"

namespace llmcf::llm {

// What holds the weights near where they started, beside weight decay.
enum class Anchor { kNone, kL1, kL2 };

struct TuneOptions {
  int64_t epochs = 1;
  int64_t rows_per_step = 8;    // of `pack`ed rows
  int64_t rows_at_once = 8;     // the rest is accumulated
  double learning_rate = 1e-5;  // the highest
  double warm_up = 0.03;        // share of the steps over which it rises linearly from 0
  double last_rate = 0;         // what the cosine falls to, as a share of the highest
  double weight_decay = 0;      // decoupled; not for norms and biases
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip = 1;  // largest norm of the gradient; 0 = any
  LoraOptions lora;
  Anchor anchor = Anchor::kNone;
  double anchor_strength = 0;  // times sum |p - p0| (L1) or sum (p - p0)^2 / 2 (L2)
  bool recompute = false;      // a layer's activations are computed again for its gradients
  uint64_t seed = 2023;
  int64_t save_every = 200;  // steps; 0 = never

  void check() const;  // throws Error naming what is out of range
};

struct TuneStep {
  int64_t step = 0;  // from 1
  int64_t steps = 0;
  double loss = 0;
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  double tokens_per_second = 0;
};

// What a run needs, in bytes, before it starts.
struct MemoryEstimate {
  int64_t weights = 0, gradients = 0, optimizer = 0, anchor = 0, activations = 0;
  int64_t total() const { return weights + gradients + optimizer + anchor + activations; }
  std::string text() const;  // one line for people, GiB
};
MemoryEstimate estimate_memory(const ModelConfig& config, torch::Dtype dtype,
                               const TuneOptions& options, int64_t row_length);

// Losses of all steps. `state` names a file for continuing (empty: none is kept); `key` says what
// the state belongs to: one of another key is an error. Adapters are attached here if asked for,
// and left unmerged.
std::vector<double> tune(LanguageModel& model, const PackedRows& rows, const TuneOptions& options,
                         const std::filesystem::path& state, const std::string& key,
                         const std::function<void(const TuneStep&)>& on_step = {});

// The rate of step `step` (from 1) of `steps`.
double rate_at(const TuneOptions& options, int64_t step, int64_t steps);

// Mean negative log likelihood of all targets.
double evaluate_loss(LanguageModel& model, const PackedRows& rows, int64_t rows_at_once);

}  // namespace llmcf::llm
