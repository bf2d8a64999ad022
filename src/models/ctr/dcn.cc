// DCN: a cross network and a deep tower in parallel. Wang et al., "Deep & Cross Network for Ad
// Click Predictions", ADKDD 2017:
//   x_{l+1} = x_0 (x_l . w_l) + b_l + x_l
// Each x_l is a multiple of x_0 plus a constant, x_l = a_l x_0 + c_l with c_{l+1} = c_l + b_l and
// a_{l+1} = a_l + a_l (x_0 . w_l) + c_l . w_l, so the network costs one matrix product of x_0 with
// all w_l and a few numbers per row.
//
//   d width of x_0   L layers
#include <cmath>

#include <ATen/ops/addcmul.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "models/model.h"
#include "nn/mlp.h"

namespace llmcf::models {

class Dcn final : public CtrModel, public nn::SelfInitialised {
 public:
  // dcn:
  //   cross_layers: 3
  //   cross_init_deviation: 1.0   # of the cross weights at first, as published; 1 / sqrt(d) keeps
  //                               # activations near 1
  //   context_layer: gelu         # gelu: a context passes Linear and GELU first | none (what KAR's
  //                               # defaults to)
  struct Options {
    int64_t cross_layers = 3;
    double cross_init_deviation = 1.0;
    bool context_layer = true;

    static Options from(const Config& config, const BackboneDefaults& defaults) {
      Options options;
      options.cross_layers = config.get_int("cross_layers", options.cross_layers, 1, 64);
      options.cross_init_deviation =
          config.get_number("cross_init_deviation", options.cross_init_deviation, 0.0, 100.0);
      options.context_layer =
          config.get_choice("context_layer",
                            defaults.context == ContextKind::kKar ? "none" : "gelu",
                            {"gelu", "none"}) == "gelu";
      return options;
    }
  };
  static constexpr BackboneNeeds kNeeds = {.init = nn::InitKind::kXavier};

  Dcn(const Options& options, const BackboneSpec& spec) : options_(options) {
    const int64_t d = spec.num_fields * spec.embed_dim + spec.context_dim, C = spec.context_dim;
    if (C > 0 && options.context_layer) {
      context_weight = register_parameter("context_weight", at::zeros({C, C}));
      context_bias = register_parameter("context_bias", at::zeros({C}));
    }
    cross_weight = register_parameter("cross_weight", at::zeros({options.cross_layers, d}));
    cross_bias = register_parameter("cross_bias", at::zeros({options.cross_layers, d}));
    std::vector<int64_t> sizes = {d};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    tower = register_module(
        "tower",
        nn::Mlp(nn::MlpOptions{.sizes = sizes, .dropout = spec.dropout, .batch_norm = true}));
    head = register_module("head", torch::nn::Linear(d + sizes.back(), 1));
  }

  torch::Tensor forward(const Features& features) override {
    torch::Tensor x = features.fields.flatten(1);  // [B, d]
    if (features.context.defined()) {
      const torch::Tensor context =
          context_weight.defined()
              ? at::gelu(at::linear(features.context, context_weight, context_bias))
              : features.context;
      x = at::cat({x, context}, 1);
    }
    const torch::Tensor deep = tower->forward(x);
    const int64_t d = x.size(1);
    const torch::Tensor crossed = head->weight.narrow(1, 0, d);  // what reads x_L, [1, d]
    const torch::Tensor logit =
        at::linear(deep, head->weight.narrow(1, d, deep.size(1)), head->bias).squeeze(1);
    return logit + cross(x, crossed);
  }

  // Cross weights N(0, deviation^2), whatever the kind; the context's layer as libtorch's Linear,
  // as in the public code, which makes it after its own initialisation.
  void initialise(nn::InitKind, Random& random) override {
    nn::fill_normal(cross_weight, options_.cross_init_deviation, random);
    if (!context_weight.defined()) return;
    const double bound = 1.0 / std::sqrt(static_cast<double>(context_weight.size(1)));
    nn::fill_uniform(context_weight, bound, random);
    nn::fill_uniform(context_bias, bound, random);
  }

  torch::Tensor cross_weight, cross_bias;      // [L, d]
  torch::Tensor context_weight, context_bias;  // [C, C], [C]; undefined without the layer
  nn::Mlp tower = nullptr;
  torch::nn::Linear head = nullptr;  // reads [x_L, deep]

 private:
  // x_L . reader, [B]
  torch::Tensor cross(const torch::Tensor& x, const torch::Tensor& reader) {
    const int64_t L = cross_weight.size(0);
    const torch::Tensor readers = at::cat({cross_weight, reader});            // [L + 1, d]
    const torch::Tensor products = at::linear(x, readers).t();                // [L + 1, B]
    const torch::Tensor sums = cross_bias.cumsum(0);                          // row l holds c_{l+1}
    const torch::Tensor constants = (sums * readers.narrow(0, 1, L)).sum(1);  // c_l . w_l, l = 1..L
    torch::Tensor scale = products[0] + 1;
    for (int64_t l = 1; l < L; ++l)
      scale = at::addcmul(scale, scale, products[l]) + constants[l - 1];
    return scale * products[L] + constants[L - 1];
  }

  Options options_;
};

LLMCF_CTR_MODEL(dcn, Dcn)

}  // namespace llmcf::models
