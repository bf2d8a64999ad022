// Multi-layer perceptron: for every layer Dropout -> Linear -> [BatchNorm] -> ReLU. Dropout comes
// before each Linear, on the input too unless told otherwise. Training on a single row, which has
// no spread, BatchNorm uses its running statistics.
#pragma once

#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

namespace llmcf::nn {

struct MlpOptions {
  std::vector<int64_t> sizes;  // input width, hidden widths, output width
  double dropout = 0.0;
  bool batch_norm = false;
  bool last_activation = true;  // false: no ReLU after the last layer
  bool input_dropout = true;    // false: no dropout in front of the first layer
};

class MlpImpl : public torch::nn::Module {
 public:
  // Throws Error if there are fewer than two sizes or one is not positive.
  explicit MlpImpl(const MlpOptions& options);

  // [N, sizes.front()] -> [N, sizes.back()]
  torch::Tensor forward(torch::Tensor x);

  MlpOptions options;
  std::vector<torch::nn::Linear> linears;     // registered as linear0, linear1, ...
  std::vector<torch::nn::BatchNorm1d> norms;  // norm0, ...; empty without batch_norm
};
TORCH_MODULE(Mlp);

}  // namespace llmcf::nn
