// Token sequences made from what was computed once per sample, per example and per text.
//
//   B queries   K slots   S samples (queries first, then examples)   E examples   d width
//
// Sequence b: for each slot k the tokens of its example in the order feature, chain of thought,
// label (those the layout has), then the query's feature token (if the layout has it).
//
// Invariant: masked slots (-1) come first in a row; their tokens are zeros.
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace llmcf::ict {

struct SequenceLayout {
  bool feature = true;
  bool cot = true;
  bool label = true;
  bool query = true;

  int64_t step() const { return feature + cot + label; }  // tokens of a slot
  int64_t tokens(int64_t slots) const { return slots * step() + query; }
};

// Which example each slot shows. Both tensors may be views of a batch that outlives the backward
// pass.
struct Slots {
  torch::Tensor slot;   // int32 [B, K]; -1 = masked. K may be 0.
  torch::Tensor label;  // int32 [E]
  int64_t queries() const { return slot.size(0); }
  int64_t count() const { return slot.size(1); }
};

// Throws Error if a slot names no example or a masked slot follows a used one.
void check_slots(const Slots& slots);

// int32 [B]: how many tokens of each sequence are masked.
torch::Tensor masked_tokens(const Slots& slots, const SequenceLayout& layout);

// feature [S, d], text [N, d] whose rows [cot_row, cot_row + E) are the mapped chains of thought,
// label [2, d] -> tokens [B, T, d]. Tensors that the layout does not use may be undefined.
torch::Tensor assemble(const SequenceLayout& layout, const Slots& slots,
                       const torch::Tensor& feature, const torch::Tensor& text, int64_t cot_row,
                       const torch::Tensor& label);

// Mean of the tokens that are not masked: tokens [B, T, d], masked int32 [B] -> [B, d]; zeros where
// all are masked.
torch::Tensor mean_token(const torch::Tensor& tokens, const torch::Tensor& masked);

}  // namespace llmcf::ict
