// DeepFM: a linear model, a factorisation machine over the fields and a deep tower share their
// embeddings and add up. Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR
// Prediction", IJCAI 2017. A context enters the linear part and the tower, not the machine (as in
// the LLM-CF paper's code).
#include <ATen/ops/linear.h>

#include "models/model.h"
#include "nn/fm.h"
#include "nn/mlp.h"

namespace llmcf::models {

class DeepFm final : public CtrModel {
 public:
  struct Options {
    static Options from(const Config&) { return {}; }
  };
  static constexpr BackboneNeeds kNeeds = {.first_order = true};

  DeepFm(const Options&, const BackboneSpec& spec) {
    std::vector<int64_t> sizes = {spec.num_fields * spec.embed_dim + spec.context_dim};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    tower =
        register_module("tower", nn::Mlp(nn::MlpOptions{.sizes = sizes, .dropout = spec.dropout}));
    head = register_module("head", torch::nn::Linear(sizes.back(), 1));
    bias = register_bias(*this, spec.fixed_linear_bias);
    if (spec.context_dim > 0)
      context_linear = register_module(
          "context_linear",
          torch::nn::Linear(torch::nn::LinearOptions(spec.context_dim, 1).bias(false)));
  }

  torch::Tensor forward(const Features& features) override {
    const torch::Tensor deep = head->forward(tower->forward(concatenated(features)));  // [B, 1]
    torch::Tensor logit = deep.squeeze(1) + nn::factorisation_machine(features.fields) +
                          features.first_order + bias;  // [B]
    if (features.context.defined())
      logit = logit + context_linear->forward(features.context).squeeze(1);
    return logit;
  }

  nn::Mlp tower = nullptr;
  torch::nn::Linear head = nullptr;
  torch::nn::Linear context_linear = nullptr;  // null without a context
  torch::Tensor bias;                          // [1]
};

LLMCF_CTR_MODEL(deepfm, DeepFm)

}  // namespace llmcf::models
