#include "nn/mlp.h"

#include <algorithm>
#include <string>

#include <ATen/ops/linear.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/dropout.h"

namespace llmcf::nn {

namespace {

torch::Tensor normalised(torch::nn::BatchNorm1dImpl& norm, const torch::Tensor& x) {
  if (!norm.is_training() || x.size(0) > 1) return norm.forward(x);
  norm.eval();
  torch::Tensor y = norm.forward(x);
  norm.train();
  return y;
}

}  // namespace

MlpImpl::MlpImpl(const MlpOptions& opts) : options(opts) {
  const auto& sizes = options.sizes;
  if (sizes.size() < 2 || *std::min_element(sizes.begin(), sizes.end()) < 1)
    throw Error(
        fmt::format("Mlp: needs two or more positive widths, got [{}]", fmt::join(sizes, ", ")));
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    linears.push_back(
        register_module("linear" + std::to_string(i), torch::nn::Linear(sizes[i], sizes[i + 1])));
    if (options.batch_norm)
      norms.push_back(
          register_module("norm" + std::to_string(i), torch::nn::BatchNorm1d(sizes[i + 1])));
  }
}

torch::Tensor MlpImpl::forward(torch::Tensor x) {
  for (size_t i = 0; i < linears.size(); ++i) {
    if (i > 0 || options.input_dropout) x = nn::dropout(x, options.dropout, is_training());
    x = at::linear(x, linears[i]->weight, linears[i]->bias);
    if (options.batch_norm) x = normalised(*norms[i], x);
    if (i + 1 < linears.size() || options.last_activation) x = x.relu_();
  }
  return x;
}

}  // namespace llmcf::nn
