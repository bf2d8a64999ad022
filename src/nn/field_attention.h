// Multi-head self-attention among the fields of a row: no positions, no mask. Vaswani et al.,
// "Attention Is All You Need", NeurIPS 2017, as torch::nn::MultiheadAttention arranges it.
//
//   B rows   F fields   A width
#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "nn/init.h"

namespace llmcf::nn {

// qkv [B, F, 3A] -> weights [B, heads, F, F], each row of them sums to 1.
torch::Tensor field_attention_weights(const torch::Tensor& qkv, int64_t heads);
// weights [B, heads, F, F] and the values in qkv [B, F, 3A] -> [B, F, A]
torch::Tensor field_attention_mix(const torch::Tensor& weights, const torch::Tensor& qkv);

class FieldAttentionImpl : public torch::nn::Module, public SelfInitialised {
 public:
  // Throws Error unless width is a multiple of heads.
  FieldAttentionImpl(int64_t width, int64_t heads, double dropout);

  // x [B, F, A] -> [B, F, A]. With `before` (a Linear E -> A that is not applied yet), x is [B, F,
  // E]: the two projections become one matrix.
  torch::Tensor forward(const torch::Tensor& x, const torch::nn::Linear& before = nullptr);
  // xavier uniform whatever the kind, biases 0.
  void initialise(InitKind kind, Random& random) override;

  torch::Tensor in_weight;          // [3A, A]: queries, keys, values
  torch::Tensor in_bias;            // [3A]
  torch::nn::Linear out = nullptr;  // A -> A

 private:
  int64_t heads_;
  double dropout_;  // of the weights
};
TORCH_MODULE(FieldAttention);

}  // namespace llmcf::nn
