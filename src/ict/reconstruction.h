// The reconstruction objective: the hidden state of an example's feature token, which causally has
// not seen the example's chain of thought yet, predicts that chain's frozen vector.
//   L = 1 - mean over used slots of cos(r_k, cot_k)
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace llmcf::ict {

// predicted [N, W], frozen [E, W], slot int32 with N elements (-1 = not counted) -> scalar; 0 when
// no slot is used. `frozen` gets no gradient.
torch::Tensor reconstruction_loss(const torch::Tensor& predicted, const torch::Tensor& frozen,
                                  const torch::Tensor& slot);

}  // namespace llmcf::ict
