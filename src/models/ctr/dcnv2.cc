// DCNv2: a mixture of low-rank cross layers and a deep tower in parallel. Wang et al., "DCN V2:
// Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems", WWW
// 2021:
//   x_{l+1} = x_l + sum_i g_i(x_l) x_0 * (U_i tanh(C_i tanh(V_i^T x_l)) + b_l)
// with gates g = softmax over the experts, shared by the layers. Gates sum to 1, so b_l leaves the
// sum and the experts of a layer are two matrix products. A context is concatenated to the fields.
//
//   d width of x_0   E experts   r rank
#include <ATen/ops/addcmul.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include "models/model.h"
#include "nn/mlp.h"

namespace llmcf::models {

class DcnV2 final : public CtrModel, public nn::SelfInitialised {
 public:
  // dcnv2:
  //   cross_layers: 2
  //   experts: 4
  //   rank: 4
  //   cross_init_deviation: 1.0   # of U, V and C at first, as published; smaller keeps the
  //                               # activations of a wide input smaller
  struct Options {
    int64_t cross_layers = 2;
    int64_t experts = 4;
    int64_t rank = 4;
    double cross_init_deviation = 1.0;

    static Options from(const Config& config) {
      Options options;
      options.cross_layers = config.get_int("cross_layers", options.cross_layers, 1, 64);
      options.experts = config.get_int("experts", options.experts, 1, 256);
      options.rank = config.get_int("rank", options.rank, 1, 4096);
      options.cross_init_deviation =
          config.get_number("cross_init_deviation", options.cross_init_deviation, 0.0, 100.0);
      return options;
    }
  };
  static constexpr BackboneNeeds kNeeds = {};

  DcnV2(const Options& options, const BackboneSpec& spec) : options_(options) {
    const int64_t d = spec.num_fields * spec.embed_dim + spec.context_dim;
    const int64_t L = options.cross_layers, E = options.experts, r = options.rank;
    u = register_parameter("u", at::zeros({L, d, E * r}));
    v = register_parameter("v", at::zeros({L, E * r, d}));
    c = register_parameter("c", at::zeros({L, E, r, r}));
    cross_bias = register_parameter("cross_bias", at::zeros({L, d}));
    gate = register_module("gate", torch::nn::Linear(d, E));
    std::vector<int64_t> sizes = {d};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    tower = register_module(
        "tower",
        nn::Mlp(nn::MlpOptions{.sizes = sizes, .dropout = spec.dropout, .batch_norm = true}));
    head = register_module("head", torch::nn::Linear(d + sizes.back(), 1));
  }

  torch::Tensor forward(const Features& features) override {
    const torch::Tensor x0 = concatenated(features);  // [B, d]
    torch::Tensor x = x0;
    for (int64_t l = 0; l < options_.cross_layers; ++l)
      x = at::addcmul(x, x0, mixture(x, l));
    return head->forward(at::cat({x, tower->forward(x0)}, 1)).squeeze(1);
  }

  void initialise(nn::InitKind, Random& random) override {
    for (const torch::Tensor& tensor : {u, v, c})
      nn::fill_normal(tensor, options_.cross_init_deviation, random);
    cross_bias.zero_();
  }

  torch::Tensor u;                   // [L, d, E r], experts one after the other
  torch::Tensor v;                   // [L, E r, d]
  torch::Tensor c;                   // [L, E, r, r]
  torch::Tensor cross_bias;          // [L, d]
  torch::nn::Linear gate = nullptr;  // d -> E
  nn::Mlp tower = nullptr;
  torch::nn::Linear head = nullptr;  // reads [x_L, deep]

 private:
  // sum_i g_i (U_i tanh(C_i tanh(V_i^T x)) + b), [B, d]
  torch::Tensor mixture(const torch::Tensor& x, int64_t layer) {
    const int64_t B = x.size(0), E = options_.experts, r = options_.rank;
    const torch::Tensor inner = at::linear(x, v[layer]).tanh();  // [B, E r]
    const torch::Tensor mixed =                                  // [E, B, r]
        at::bmm(inner.view({B, E, r}).transpose(0, 1), c[layer].transpose(1, 2)).tanh();
    const torch::Tensor gates = at::softmax(gate->forward(x), 1).unsqueeze(2);  // [B, E, 1]
    const torch::Tensor gated = (mixed.transpose(0, 1) * gates).flatten(1);     // [B, E r]
    return at::linear(gated, u[layer], cross_bias[layer]);
  }

  Options options_;
};

LLMCF_CTR_MODEL(dcnv2, DcnV2)

}  // namespace llmcf::models
