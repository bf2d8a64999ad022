// Causal multi-head self-attention with rotary positions over short sequences, one sequence at a
// time. LLaMA conventions: RoPE (theta 10,000) on interleaved pairs, scores / sqrt(head width).
//
// A sequence of T tokens begins with `start` masked ones: they are neither attended to nor have an
// output. Only the positions first, first + stride, ... are asked for (P of them).
#pragma once

#include <cstdint>
#include <vector>

namespace llmcf::nn::kernels {

// cos and sin of position * theta^(-2i / head_dim), [positions, head_dim / 2] each.
struct RotaryTable {
  std::vector<float> cosine, sine;
  RotaryTable(int64_t positions, int64_t head_dim);
  // Turns nothing: attention without rotary positions.
  static RotaryTable identity(int64_t positions, int64_t head_dim);
};

struct AttentionShape {
  int64_t tokens = 0;    // T
  int64_t heads = 0;     // H
  int64_t head_dim = 0;  // d / H, even
  int64_t first = 0;     // first position asked for
  int64_t stride = 1;
  int64_t outputs() const { return (tokens - 1 - first) / stride + 1; }  // P
  int64_t width() const { return heads * head_dim; }                     // d
};

// qkv [T, 3d] -> output [P, d], weights [H, P, T] (kept for the backward pass). `scratch` holds
// 2 T d floats.
void attention(const AttentionShape& shape, const RotaryTable& rotary, int64_t start,
               const float* qkv, float* output, float* weights, float* scratch);

// doutput [P, d] -> dqkv [T, 3d], written. `scratch` holds 5 T d floats.
void attention_backward(const AttentionShape& shape, const RotaryTable& rotary, int64_t start,
                        const float* doutput, const float* qkv, const float* weights, float* dqkv,
                        float* scratch);

}  // namespace llmcf::nn::kernels
