// Activation checkpointing: what a function computes on the way is not kept for its gradients but
// computed again (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
#pragma once

#include <functional>

#include <torch/types.h>

namespace llmcf::llm {

// run(input); gradients of the input and of every parameter that `run` reads are those of run.
// REQUIRES: run is deterministic, or its randomness does not matter twice.
torch::Tensor recomputed(std::function<torch::Tensor(const torch::Tensor&)> run,
                         const torch::Tensor& input);

}  // namespace llmcf::llm
