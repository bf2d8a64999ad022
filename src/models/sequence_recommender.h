// A sequence model put together: embedding tables + backbone + context source + fusion + objective.
// The context (LLM-CF) reads, per sample, the user's embedding, the backbone's own summary of the
// history, the mapped text of the history, the item and its mapped text; a query's item is unknown
// (row 0). It joins the state as
//   add      u + context_weight * w
//   concat   Linear(GELU(Linear([u, w])))
//
// Invariants:
//  1. The examples' histories pass the same backbone as the queries'; gradients flow through both.
//  2. Row 0 of the item table receives no gradient.
//  3. State names are those of TabledModel, "context.<...>", "backbone.<...>" and "fusion.<...>".
#pragma once

#include <cstdint>
#include <memory>

#include <torch/types.h>

#include "models/context_source.h"
#include "models/objective.h"
#include "models/options.h"
#include "models/sequence_batch.h"
#include "models/sequence_model.h"
#include "models/tabled_model.h"
#include "nn/mlp.h"

namespace llmcf::models {

struct SequenceRecommenderOutput {
  torch::Tensor state;           // [Q, D] after fusion
  torch::Tensor context;         // [Q, C], or undefined
  torch::Tensor reconstruction;  // scalar, or undefined
  torch::Tensor items;           // [U, D] the batch's item rows
};

class SequenceRecommender : public TabledModel {
 public:
  // Throws Error naming the option or table that does not fit.
  SequenceRecommender(const SequenceData& data, const ModelOptions& options,
                      const FrozenTables& frozen, uint64_t seed);

  SequenceRecommenderOutput forward(const SequenceBatch& batch);
  Losses loss(const SequenceBatch& batch);
  // [items + 1, D] of the item table; row 0 is padding. Rows must be current.
  torch::Tensor item_vectors() const;
  void always_reconstruct(bool on);

 private:
  torch::Tensor fused(const torch::Tensor& state, const torch::Tensor& context);

  SequenceData data_;
  ModelOptions options_;
  std::shared_ptr<ContextSource> context_;  // null without a context
  std::shared_ptr<SequenceModel> backbone_;
  bool reads_graphs_ = false;
  torch::nn::Linear fusion0_ = nullptr, fusion1_ = nullptr;  // concat
};

}  // namespace llmcf::models
