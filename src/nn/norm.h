// Norms over the last dimension. Root mean square norm (Zhang and Sennrich, 2019): y = x /
// sqrt(mean(x^2) + eps) * weight. Layer norm (Ba et al., 2016): y = (x - mean) / sqrt(var + eps) *
// weight + bias.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace llmcf::nn {

class RmsNormImpl : public torch::nn::Module {
 public:
  explicit RmsNormImpl(int64_t width, double epsilon = 1e-5);

  // [..., width] -> the same shape
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight;  // [width], ones at first

 private:
  double epsilon_;
};
TORCH_MODULE(RmsNorm);

class LayerNormImpl : public torch::nn::Module {
 public:
  explicit LayerNormImpl(int64_t width, double epsilon = 1e-5);

  // [..., width] -> the same shape
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;  // [width], ones and zeros at first

 private:
  double epsilon_;
};
TORCH_MODULE(LayerNorm);

}  // namespace llmcf::nn
