// A LLaMA-style decoder block over short sequences:
//   h += Wo Attention(RMSNorm(h));  h += W2 (SiLU(W1 n) * W3 n), n = RMSNorm(h)
// no biases, no dropout, rotary positions, causal.
//
//   B sequences   T tokens   d width   P positions asked for
#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include "nn/norm.h"

namespace llmcf::nn {

// Which positions of a sequence a block computes: first, first + stride, ..., the last one
// included.
struct Positions {
  int64_t first = 0;
  int64_t stride = 1;
};

// qkv [B, T, 3d] -> [B, P, d]. Sequence b begins with masked[b] tokens that nobody sees; their
// outputs are zeros. `masked` is int32 [B]; REQUIRES: masked[b] < T.
torch::Tensor causal_attention(const torch::Tensor& qkv, const torch::Tensor& masked, int64_t heads,
                               Positions positions = {});

// [N, 2h] -> silu(first half) * second half, [N, h]
torch::Tensor swiglu(const torch::Tensor& ab);

struct BlockOptions {
  int64_t width = 32;
  int64_t heads = 2;
  int64_t hidden = 0;  // of the feed-forward part; 0 = round_up(floor(4/3 width), 32)
  double epsilon = 1e-5;
};

class CausalBlockImpl : public torch::nn::Module {
 public:
  // Throws Error unless width is a multiple of 2 * heads.
  explicit CausalBlockImpl(const BlockOptions& options);

  // h [B, T, d] -> [B, P, d]
  torch::Tensor forward(const torch::Tensor& h, const torch::Tensor& masked,
                        Positions positions = {});

  BlockOptions options;
  RmsNorm attention_norm = nullptr;
  torch::nn::Linear wq = nullptr, wk = nullptr, wv = nullptr, wo = nullptr;
  RmsNorm feed_forward_norm = nullptr;
  torch::nn::Linear w1 = nullptr, w2 = nullptr, w3 = nullptr;
};
TORCH_MODULE(CausalBlock);

}  // namespace llmcf::nn
