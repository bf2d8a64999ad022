// The training objective of a click model:
//   total = click + distillation_weight * distillation + reconstruction_weight * reconstruction
// click: binary cross entropy with the label, mean over rows. distillation: binary cross entropy
// with the teacher's soft target softmax(t / T)[Yes], mean over the rows that have a teacher: a row
// whose logits are NaN has none.
//
// Two numerics. On logits (strict): the fused, exact form. On probabilities (protocol paper): what
// a float32 sigmoid followed by a loss on probabilities does; the logarithm is clamped at -100, and
// a row whose probability is exactly 0 or 1 gets no gradient.
#pragma once

#include <span>

#include <torch/types.h>

namespace llmcf::models {

struct ObjectiveOptions {
  bool on_probabilities = false;
  double distillation_weight = 0;
  double distillation_temperature = 1;
  double reconstruction_weight = 0;
};

struct Losses {
  torch::Tensor total;  // scalar, differentiable
  double click = 0;
  double distillation = 0;    // before its weight
  double reconstruction = 0;  // before its weight
};

// logits [B], labels [B], teacher_logits [B, 2] or empty, reconstruction scalar or undefined.
// Throws Error if a weight asks for what is not there.
Losses objective(const ObjectiveOptions& options, const torch::Tensor& logits,
                 std::span<const float> labels, std::span<const float> teacher_logits,
                 const torch::Tensor& reconstruction);

}  // namespace llmcf::models
