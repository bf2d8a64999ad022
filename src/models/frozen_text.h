// Frozen text vectors on their way into a model: gathered once per distinct text, mapped by one
// small network, placed among a sample's field values.
//
// Parts of a sample, in order: the field values, with the mapped item text after the first item
// field and the mapped history text after the first history field (at the end if there is none).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <torch/types.h>

#include "models/batch.h"
#include "models/trainable.h"

namespace llmcf::models {

// Which rows of the gathered matrix hold what.
struct FrozenRows {
  torch::Tensor values;  // [T + S + E, W]: item texts, history means, chains of thought
  int64_t history_row = 0;
  int64_t cot_row = 0;
};

class FrozenGatherer {
 public:
  FrozenGatherer(const FrozenTables& frozen, int64_t width) : frozen_(frozen), width_(width) {}

  // Valid until the next call. Throws Error naming an id outside its table.
  FrozenRows gather(const Batch& batch, bool texts, bool cots);

 private:
  FrozenTables frozen_;
  int64_t width_;
  torch::Tensor buffer_;  // [capacity, W], reused from step to step
};

// Where the two mapped texts go: indices of fields in front of which they stand, F = at the end.
struct PartsLayout {
  int64_t item_text_before = 0;
  int64_t history_text_before = 0;
  static PartsLayout of(const FeatureSpec& spec);
};

// samples [S, F, D], text [N, M] (mapped), sample_text [S] rows of text, history of sample s at
// row history_row + s -> parts [S, F D + 2 M]. `sample_text` is alive until the backward pass.
torch::Tensor assemble_parts(const PartsLayout& layout, const torch::Tensor& samples,
                             const torch::Tensor& text, const std::vector<int32_t>& sample_text,
                             int64_t history_row);

}  // namespace llmcf::models
