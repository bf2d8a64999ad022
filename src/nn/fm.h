// Factorisation machine, second order (Rendle, 2010): sum over pairs of fields of inner products,
// as 0.5 sum_d [(sum_f v_fd)^2 - sum_f v_fd^2].
#pragma once

#include <torch/types.h>

namespace llmcf::nn {

// [B, F, D] -> [B]
torch::Tensor factorisation_machine(const torch::Tensor& fields);

}  // namespace llmcf::nn
