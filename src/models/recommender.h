// A click model put together: embedding tables + context source + backbone + objective.
//
// Invariants:
//  1. Frozen vectors are read, never copied into the state.
//  2. State names are those of TabledModel, "context.<...>" and "backbone.<...>".
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "models/alignment.h"
#include "models/batch.h"
#include "models/context_source.h"
#include "models/gate.h"
#include "models/model.h"
#include "models/objective.h"
#include "models/options.h"
#include "models/tabled_model.h"
#include "nn/embedding.h"

namespace llmcf::models {

struct RecommenderOutput {
  torch::Tensor logits;          // [B]
  torch::Tensor context;         // [B, C] after the gate, or undefined
  torch::Tensor gate;            // [B] in (0, 1), or undefined
  torch::Tensor reconstruction;  // scalar, or undefined
};

class Recommender : public TabledModel {
 public:
  // Throws Error naming the option or table that does not fit.
  Recommender(const FeatureSpec& spec, const ModelOptions& options, const FrozenTables& frozen,
              uint64_t seed);

  // Training or evaluation mode as set by train() and eval(); gradients unless a NoGradGuard says
  // otherwise.
  RecommenderOutput forward(const Batch& batch);
  // The objective of a batch; losses.total.backward() leaves gradients in the parameters and in
  // slab_gradients().
  Losses loss(const Batch& batch);

  // Computes the reconstruction loss in evaluation mode too.
  void always_reconstruct(bool on);

 private:
  void describe(const Batch& batch);
  void add_history(const Batch& batch, const std::vector<torch::Tensor>& slabs, Features& features);

  FeatureSpec spec_;
  ModelOptions options_;
  std::shared_ptr<ContextSource> context_;  // null without a context
  SimilarityGate gate_ = nullptr;           // null without a gate
  Alignment alignment_ = nullptr;
  std::shared_ptr<CtrModel> backbone_;
  bool reads_history_ = false;
  nn::PooledBatch pooled_, pooled_items_;  // of the last forward pass
};

}  // namespace llmcf::models
