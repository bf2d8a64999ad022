// How close a row's target lies to the row's own history in the space that retrieval compares in:
// one number per row, no example read. Added to the context as (s, s^2) times a learned matrix,
// s = 4 alignment - 2. With context `text` it is the control for what examples add: everything the
// retrieval's vectors say of the row itself.
//
//   B queries   C context width
#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "models/batch.h"
#include "nn/init.h"

namespace llmcf::models {

class AlignmentImpl : public torch::nn::Module, public nn::SelfInitialised {
 public:
  explicit AlignmentImpl(int64_t width);

  // -> [B, C]. Throws Error if the batch carries no alignments.
  torch::Tensor forward(const Batch& batch);
  void initialise(nn::InitKind kind, Random& random) override;

  torch::Tensor weight;  // [C, 2]
};
TORCH_MODULE(Alignment);

}  // namespace llmcf::models
