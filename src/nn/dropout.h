// Dropout whose choices depend on (seed, step, how many dropouts came before in this step) only, so
// that training can continue from a checkpoint bit for bit and any number of threads agrees.
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace llmcf::nn {

// While it lives, dropout() on this thread draws from (seed, step). Scopes may nest; the inner one
// counts.
class DropoutScope {
 public:
  DropoutScope(uint64_t seed, int64_t step);
  ~DropoutScope();
  DropoutScope(const DropoutScope&) = delete;
  DropoutScope& operator=(const DropoutScope&) = delete;

  // A key for the next dropout of this step.
  uint64_t next_key();

 private:
  uint64_t seed_;
  int64_t step_;
  uint64_t calls_ = 0;
  DropoutScope* outer_;
};

// x with elements zeroed with probability p and the others divided by 1 - p; x itself when p == 0
// or not training. REQUIRES: a DropoutScope when training with p > 0.
torch::Tensor dropout(const torch::Tensor& x, double p, bool training);

}  // namespace llmcf::nn
