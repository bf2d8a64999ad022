// Adam with coupled L2 (Kingma and Ba, 2015, algorithm 1 with gradient g + weight_decay * w), the
// arithmetic of torch::optim::Adam:
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) +
//   eps)
//
// Vectorised with run-time dispatch. Not parallel: callers hand out ranges.
#pragma once

#include <cstdint>

namespace llmcf::nn::kernels {

struct AdamConstants {
  float weight_decay = 0;
  float beta1 = 0.9F, rest1 = 0.1F;  // rest = 1 - beta, rounded once: 1.0F - 0.999F is 5e-5 off
  float beta2 = 0.999F, rest2 = 0.001F;
  float epsilon = 1e-8F;
};

// What changes from step to step.
struct AdamScale {
  float step_size = 0;                // learning rate / (1 - beta1^t)
  float inverse_root_correction = 1;  // 1 / sqrt(1 - beta2^t)
};

// One step on `count` elements. `gradient` may be null: then it is zero.
void adam_step(const AdamConstants& constants, AdamScale scale, float* weight,
               const float* gradient, float* first, float* second, int64_t count);

// The steps that a row of `width` elements missed, scales[0, missed), all with gradient zero, in
// registers. Stops once every weight and its update are below 1e-12 and lets the moments decay for
// the rest.
void adam_replay(const AdamConstants& constants, const AdamScale* scales, int64_t missed,
                 float* weight, float* first, float* second, int64_t width);

// Decoupled weight decay: w -= lr * weight_decay * w, then Adam without L2.
// `decay` is lr * weight_decay.
void adamw_step(const AdamConstants& constants, AdamScale scale, float decay, float* weight,
                const float* gradient, float* first, float* second, int64_t count);

}  // namespace llmcf::nn::kernels
