// Hybrid-expert adaptor of KAR (Xi et al., "Towards Open-World Recommendation with Knowledge
// Augmentation from Large Language Models", RecSys 2024): two text vectors, shared and own experts,
// a softmax gate for each vector over its experts.
#pragma once

#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

namespace llmcf::nn {

struct KarAdaptorOptions {
  int64_t input = 768;
  std::vector<int64_t> map = {128, 16};  // widths of an expert's layers
  int64_t shared_experts = 4;
  int64_t specific_experts = 3;
  double dropout = 0.1;  // after each ReLU
};

// For each layer Linear -> ReLU -> Dropout.
class KarExpertImpl : public torch::nn::Module {
 public:
  explicit KarExpertImpl(const KarAdaptorOptions& options);
  torch::Tensor forward(torch::Tensor x);

  std::vector<torch::nn::Linear> linears;  // linear0, linear1, ...

 private:
  double dropout_;
};
TORCH_MODULE(KarExpert);

class KarAdaptorImpl : public torch::nn::Module {
 public:
  explicit KarAdaptorImpl(const KarAdaptorOptions& options);

  // user, item [B, input] -> [B, 2 * map.back()]
  torch::Tensor forward(const torch::Tensor& user, const torch::Tensor& item);

  KarAdaptorOptions options;
  std::vector<KarExpert> shared;                 // shared0, ...
  std::vector<std::vector<KarExpert>> specific;  // [2][specific_experts] specific0_0, ...
  std::vector<torch::nn::Linear> gates;          // [2] gate0, gate1

 private:
  torch::Tensor mix(const torch::Tensor& x, size_t which);
};
TORCH_MODULE(KarAdaptor);

}  // namespace llmcf::nn
