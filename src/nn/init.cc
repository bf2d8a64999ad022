#include "nn/init.h"

#include <cmath>

#include <ATen/core/grad_mode.h>
#include <torch/nn/modules/linear.h>

namespace llmcf::nn {

namespace {

void initialise_linear(torch::nn::LinearImpl& linear, InitKind kind, Random& random) {
  const auto in = static_cast<double>(linear.weight.size(1));
  const auto out = static_cast<double>(linear.weight.size(0));
  if (kind == InitKind::kXavier) {
    fill_normal(linear.weight, std::sqrt(2.0 / (in + out)), random);
    if (linear.bias.defined()) linear.bias.zero_();
    return;
  }
  fill_uniform(linear.weight, 1.0 / std::sqrt(in), random);
  if (linear.bias.defined()) fill_uniform(linear.bias, 1.0 / std::sqrt(in), random);
}

}  // namespace

void fill_normal(const torch::Tensor& tensor, double deviation, Random& random) {
  auto* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>(deviation * random.normal());
}

void fill_uniform(const torch::Tensor& tensor, double bound, Random& random) {
  auto* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>(random.uniform(-bound, bound));
}

void fill_embedding(const torch::Tensor& tensor, InitKind kind, uint64_t seed,
                    const std::string& name) {
  Random random(seed, "init." + name);
  const auto total = static_cast<double>(tensor.size(0) + tensor.size(1));
  fill_normal(tensor, kind == InitKind::kXavier ? std::sqrt(2.0 / total) : 1.0, random);
}

void initialise(torch::nn::Module& root, InitKind kind, uint64_t seed, const std::string& prefix) {
  const at::NoGradGuard no_gradients;
  for (const auto& entry : root.named_modules(prefix, /*include_self=*/false)) {
    Random random(seed, "init." + entry.key());
    if (auto* linear = dynamic_cast<torch::nn::LinearImpl*>(entry.value().get()))
      initialise_linear(*linear, kind, random);
    if (auto* self = dynamic_cast<SelfInitialised*>(entry.value().get()))
      self->initialise(kind, random);
  }
}

}  // namespace llmcf::nn
