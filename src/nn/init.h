// Initial values. Every parameter draws from its own named stream, so that adding one never shifts
// another's numbers.
#pragma once

#include <cstdint>
#include <string>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "core/random.h"

namespace llmcf::nn {

enum class InitKind {
  kDefault,  // libtorch's: Linear and its bias U(+-1/sqrt(fan_in)), embeddings N(0, 1)
  kXavier,   // xavier normal for Linear and embeddings, biases 0
};

// A module with parameters of its own that are not a Linear's initialises them itself.
class SelfInitialised {
 public:
  virtual ~SelfInitialised() = default;
  virtual void initialise(InitKind kind, Random& random) = 0;
};

// N(0, variance) in place, row by row.
void fill_normal(const torch::Tensor& tensor, double deviation, Random& random);
void fill_uniform(const torch::Tensor& tensor, double bound, Random& random);
// [V, D] by kind; stream "init.<name>".
void fill_embedding(const torch::Tensor& tensor, InitKind kind, uint64_t seed,
                    const std::string& name);

// Every Linear and SelfInitialised below `root`, not `root` itself; stream "init.<prefix><name>".
void initialise(torch::nn::Module& root, InitKind kind, uint64_t seed, const std::string& prefix);

}  // namespace llmcf::nn
