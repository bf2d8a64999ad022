// A learned gate on the context: when the retrieved examples are poor, the row falls back to what
// the backbone knows by itself.
//   g = sigmoid(a . statistics + b), context = g * w, one number per row
//
// Statistics of a row's slots (kGateStatistics of them): best and mean similarity of its positive
// examples, the same of its negative ones, share of masked slots. A row without examples has zeros
// and a share of 1, so how far its gate opens is learned like any other row's. At first a = 0 and
// b = 2: every gate is open (0.88).
//
//   B queries   K slots
#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "models/batch.h"
#include "nn/init.h"

namespace llmcf::models {

inline constexpr int64_t kGateStatistics = 5;

// [B, kGateStatistics]. A positive or negative class without an example counts as similarity 0.
torch::Tensor gate_statistics(const Batch& batch);

class SimilarityGateImpl : public torch::nn::Module, public nn::SelfInitialised {
 public:
  SimilarityGateImpl();

  torch::Tensor forward(const Batch& batch);  // [B], in (0, 1)
  void initialise(nn::InitKind kind, Random& random) override;

  torch::Tensor weight;  // [1, kGateStatistics]
  torch::Tensor bias;    // [1]
};
TORCH_MODULE(SimilarityGate);

}  // namespace llmcf::models
