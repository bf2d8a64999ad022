// xDeepFM: a linear model, a compressed interaction network over the fields and a deep tower add
// up. Lian et al., "xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender
// Systems", KDD 2018. A context is one more field of the network and the tower, and enters the
// linear part (as in the LLM-CF paper's code). One as wide as the fields enters as it is, another
// through a trained projection.
#include <string>

#include "models/model.h"
#include "nn/cin.h"
#include "nn/mlp.h"

namespace llmcf::models {

class XDeepFm final : public CtrModel {
 public:
  // xdeepfm:
  //   cin: [100, 100, 100]   # maps of each layer
  //   direct: false          # true: all maps go on and out; false: the first half on, the second
  //                          # out (the last layer's all out)
  //   relu_on_logit: false   # the tower's logit passes a ReLU, so that it can only raise the score
  //                          # (protocol paper: true, as in the public code)
  struct Options {
    std::vector<int64_t> cin = {100, 100, 100};
    bool direct = false;
    bool relu_on_logit = false;

    static Options from(const Config& config, const BackboneDefaults& defaults) {
      Options options;
      options.cin = config.get<std::vector<int64_t>>("cin", options.cin);
      options.direct = config.get<bool>("direct", options.direct);
      options.relu_on_logit = config.get<bool>("relu_on_logit", defaults.paper);
      if (options.cin.empty()) config.fail("cin", "needs at least one layer");
      for (size_t i = 0; i < options.cin.size(); ++i) {
        const bool splits = !options.direct && i + 1 < options.cin.size();
        if (options.cin[i] < 1 || (splits && options.cin[i] % 2 != 0))
          config.fail("cin", "a layer that is split has an even, positive number of maps");
      }
      return options;
    }
  };
  static constexpr BackboneNeeds kNeeds = {.first_order = true, .init = nn::InitKind::kXavier};

  XDeepFm(const Options& options, const BackboneSpec& spec) : options_(options) {
    const int64_t fields = spec.num_fields + (spec.context_dim > 0 ? 1 : 0);
    context_projection = register_context_projection(*this, spec);
    if (spec.context_dim > 0)
      context_linear = register_module(
          "context_linear",
          torch::nn::Linear(torch::nn::LinearOptions(spec.context_dim, 1).bias(false)));
    add_cin(fields);
    std::vector<int64_t> sizes = {fields * spec.embed_dim};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    sizes.push_back(1);
    tower = register_module(
        "tower",
        nn::Mlp(nn::MlpOptions{
            .sizes = sizes, .dropout = spec.dropout, .last_activation = options.relu_on_logit}));
    bias = register_bias(*this, spec.fixed_linear_bias);
  }

  torch::Tensor forward(const Features& features) override {
    const torch::Tensor fields = fields_with_context(features, context_projection);
    std::vector<nn::CinLayer> layers;
    for (size_t i = 0; i < cin.size(); ++i)
      layers.push_back({.weight = cin[i]->weight,
                        .bias = cin[i]->bias,
                        .handed_on = handed_on(i),
                        .pooled_from = options_.direct ? 0 : handed_on(i)});
    torch::Tensor logit = tower->forward(fields.flatten(1)) +
                          cin_head->forward(nn::compressed_interaction(fields, layers));  // [B, 1]
    if (features.context.defined()) logit = logit + context_linear->forward(features.context);
    return logit.squeeze(1) + features.first_order + bias;
  }

  std::vector<torch::nn::Linear> cin;  // cin0, cin1, ...: F * H -> O
  torch::nn::Linear cin_head = nullptr;
  torch::nn::Linear context_projection = nullptr, context_linear = nullptr;
  nn::Mlp tower = nullptr;
  torch::Tensor bias;  // [1]

 private:
  int64_t handed_on(size_t layer) const {
    if (layer + 1 == options_.cin.size()) return 0;
    return options_.direct ? options_.cin[layer] : options_.cin[layer] / 2;
  }

  void add_cin(int64_t fields) {
    int64_t maps = fields, pooled = 0;
    for (size_t i = 0; i < options_.cin.size(); ++i) {
      cin.push_back(register_module("cin" + std::to_string(i),
                                    torch::nn::Linear(fields * maps, options_.cin[i])));
      maps = handed_on(i);
      pooled += options_.cin[i] - (options_.direct ? 0 : maps);
    }
    cin_head = register_module("cin_head", torch::nn::Linear(pooled, 1));
  }

  Options options_;
};

LLMCF_CTR_MODEL(xdeepfm, XDeepFm)

}  // namespace llmcf::models
