#include "nn/kar.h"

#include <string>

#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>

#include "nn/dropout.h"

namespace llmcf::nn {

KarExpertImpl::KarExpertImpl(const KarAdaptorOptions& options) : dropout_(options.dropout) {
  int64_t width = options.input;
  for (const int64_t next : options.map) {
    linears.push_back(
        register_module("linear" + std::to_string(linears.size()), torch::nn::Linear(width, next)));
    width = next;
  }
}

torch::Tensor KarExpertImpl::forward(torch::Tensor x) {
  for (torch::nn::Linear& linear : linears)
    x = nn::dropout(linear->forward(x).relu_(), dropout_, is_training());
  return x;
}

KarAdaptorImpl::KarAdaptorImpl(const KarAdaptorOptions& opts) : options(opts) {
  for (int64_t i = 0; i < options.shared_experts; ++i)
    shared.push_back(register_module("shared" + std::to_string(i), KarExpert(options)));
  for (int which = 0; which < 2; ++which) {
    const std::string suffix = std::to_string(which);
    auto& own = specific.emplace_back();
    for (int64_t i = 0; i < options.specific_experts; ++i)
      own.push_back(
          register_module("specific" + suffix + "_" + std::to_string(i), KarExpert(options)));
    gates.push_back(register_module(
        "gate" + suffix,
        torch::nn::Linear(options.input, options.shared_experts + options.specific_experts)));
  }
}

torch::Tensor KarAdaptorImpl::mix(const torch::Tensor& x, size_t which) {
  std::vector<torch::Tensor> experts;
  for (KarExpert& expert : shared)
    experts.push_back(expert->forward(x));
  for (KarExpert& expert : specific[which])
    experts.push_back(expert->forward(x));
  const torch::Tensor weights = at::softmax(gates[which]->forward(x), 1).unsqueeze(1);  // [B, 1, S]
  return at::bmm(weights, at::stack(experts, 1)).squeeze(1);                            // [B, d]
}

torch::Tensor KarAdaptorImpl::forward(const torch::Tensor& user, const torch::Tensor& item) {
  return at::cat({mix(user, 0), mix(item, 1)}, 1);
}

}  // namespace llmcf::nn
