// Where a row's context vector comes from: one composition per ContextKind, never a class per
// variant of a model. Frozen vectors are mapped once per distinct text of the batch.
//
//   B queries   S samples   E examples   F fields   D embedding width   W width of frozen text
//   C context width
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "models/batch.h"
#include "models/options.h"
#include "models/trainable.h"

namespace llmcf::models {

struct ContextInput {
  const Batch& batch;     // alive until the backward pass
  torch::Tensor samples;  // [S, F, D] field values of queries and examples; undefined unless needed
};

struct ContextOutput {
  torch::Tensor context;         // [B, C]
  torch::Tensor reconstruction;  // scalar, or undefined
};

class ContextSource : public torch::nn::Module {
 public:
  virtual ContextOutput forward(const ContextInput& input) = 0;
  virtual int64_t width() const = 0;  // C
  // Whether forward() reads the field values of all samples (else of none).
  virtual bool reads_samples() const { return false; }
  // Computes the reconstruction loss in evaluation mode too.
  virtual void always_reconstruct(bool) {}
};

// Null for ContextKind::kNone. Throws Error naming what the data lacks.
std::shared_ptr<ContextSource> make_context_source(const ModelOptions& options,
                                                   const FeatureSpec& spec,
                                                   const FrozenTables& frozen);

}  // namespace llmcf::models
