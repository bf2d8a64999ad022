// AutoInt: self-attention among the fields and a deep tower add up. Song et al., "AutoInt:
// Automatic Feature Interaction Learning via Self-Attentive Neural Networks", CIKM 2019. A context
// is one more field; one as wide as the fields enters as it is, another through a trained
// projection.
#include <string>

#include "models/model.h"
#include "nn/field_attention.h"
#include "nn/mlp.h"

namespace llmcf::models {

class AutoInt final : public CtrModel {
 public:
  // autoint:
  //   attention_width: 64   # of queries, keys and values, all heads together
  //   heads: 2
  //   layers: 1
  //   dropout: 0.1          # of the attention weights; the model's dropout when absent
  //   residual: true        # the fields are added to the last layer's output
  struct Options {
    int64_t attention_width = 64;
    int64_t heads = 2;
    int64_t layers = 1;
    std::optional<double> dropout = std::nullopt;
    bool residual = true;

    static Options from(const Config& config) {
      Options options;
      options.attention_width =
          config.get_int("attention_width", options.attention_width, 1, 65536);
      options.heads = config.get_int("heads", options.heads, 1, 1024);
      options.layers = config.get_int("layers", options.layers, 1, 64);
      if (config.has("dropout")) options.dropout = config.get_number("dropout", 0.1, 0.0, 0.99);
      options.residual = config.get<bool>("residual", options.residual);
      if (options.attention_width % options.heads != 0)
        config.fail("heads", "attention_width is not a multiple of the number of heads");
      return options;
    }
  };
  static constexpr BackboneNeeds kNeeds = {.init = nn::InitKind::kXavier};

  AutoInt(const Options& options, const BackboneSpec& spec) {
    const int64_t fields = spec.num_fields + (spec.context_dim > 0 ? 1 : 0);
    const int64_t width = options.attention_width;
    context_projection = register_context_projection(*this, spec);
    embed = register_module("embed", torch::nn::Linear(spec.embed_dim, width));
    for (int64_t i = 0; i < options.layers; ++i)
      attention.push_back(register_module(
          "attention" + std::to_string(i),
          nn::FieldAttention(width, options.heads, options.dropout.value_or(spec.dropout))));
    if (options.residual)
      residual = register_module("residual", torch::nn::Linear(spec.embed_dim, width));
    attention_head = register_module("attention_head", torch::nn::Linear(fields * width, 1));
    std::vector<int64_t> sizes = {fields * spec.embed_dim};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    tower =
        register_module("tower", nn::Mlp(nn::MlpOptions{.sizes = sizes, .dropout = spec.dropout}));
    head = register_module("head", torch::nn::Linear(sizes.back(), 1));
  }

  torch::Tensor forward(const Features& features) override {
    const torch::Tensor fields = fields_with_context(features, context_projection);
    torch::Tensor mixed = attention.front()->forward(fields, embed);  // [B, F, A]
    for (size_t i = 1; i < attention.size(); ++i)
      mixed = attention[i]->forward(mixed);
    if (!residual.is_empty()) mixed = mixed + residual->forward(fields);
    const torch::Tensor logit = attention_head->forward(mixed.relu_().flatten(1)) +
                                head->forward(tower->forward(fields.flatten(1)));
    return logit.squeeze(1);
  }

  torch::nn::Linear context_projection = nullptr;
  torch::nn::Linear embed = nullptr, residual = nullptr, attention_head = nullptr, head = nullptr;
  std::vector<nn::FieldAttention> attention;  // attention0, ...
  nn::Mlp tower = nullptr;
};

LLMCF_CTR_MODEL(autoint, AutoInt)

}  // namespace llmcf::models
