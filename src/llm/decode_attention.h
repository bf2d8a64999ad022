// Attention of one new token per slot over what the slot holds, fp32 on the CPU. No libtorch.
//
//   B slots   G key/value heads   P queries per key/value head   d head width   L capacity
//
// Invariant: a slot's numbers depend on its own keys, values and length alone, not on threads nor
// on which slots run beside it.
#pragma once

#include <cstdint>

namespace llmcf::llm {

struct DecodeAttention {
  const float* queries = nullptr;  // [B, G P, d]
  const float* keys = nullptr;     // [B, G, L, d]
  const float* values = nullptr;   // [B, G, L, d]
  const int64_t* last = nullptr;   // [B] the position of each slot's token: it sees [0, last]
  int64_t slots = 0, kv_heads = 0, per_head = 0, width = 0, capacity = 0;
  int64_t window = 0;    // positions seen, the token's own included; 0 = all
  float* out = nullptr;  // [B, G P, d]
};

void attend_decoding(const DecodeAttention& task);

}  // namespace llmcf::llm
