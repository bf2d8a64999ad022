// Sequences of any lengths, packed one behind the other without padding: what sequence models read.
//
//   S sequences   N tokens of all of them   D width   H heads
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace llmcf::nn {

// Causal self-attention within each sequence, no positions, no dropout: qkv [N, 3 D] -> [N, D],
// scores / sqrt(D / H). `offsets` int32 [S + 1], alive until the backward pass. REQUIRES: D a
// multiple of 2 H.
torch::Tensor segment_attention(const torch::Tensor& qkv, const torch::Tensor& offsets,
                                int64_t heads);

// The values as an int32 tensor without a copy; the vector must outlive it.
torch::Tensor view_of(const std::vector<int32_t>& values);

// By token, int32 [N]: its place in its sequence; its sequence.
torch::Tensor token_places(const std::vector<int32_t>& offsets);
torch::Tensor token_owners(const std::vector<int32_t>& offsets);

// The order in which a recurrent network reads packed sequences: all first tokens, then all second
// ones, ...; longest sequence first.
struct TimeMajor {
  torch::Tensor order;        // int64 [N]: token of each place
  torch::Tensor place;        // int64 [N]: place of each token
  torch::Tensor batch_sizes;  // int64 [longest]: sequences that have a t-th token
  static TimeMajor of(const std::vector<int32_t>& offsets);
};

}  // namespace llmcf::nn
