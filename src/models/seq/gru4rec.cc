// GRU4Rec: a gated recurrent network over the history, one linear map of its state. Hidasi et al.,
// "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016; as the LLM-CF authors'
// code has it: dropout on the embeddings, no biases in the network.
//
//   N tokens   D width
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <torch/nn/modules/linear.h>

#include "models/sequence_model.h"
#include "nn/dropout.h"
#include "nn/segments.h"

namespace llmcf::models {

class Gru4rec final : public SequenceModel, public nn::SelfInitialised {
 public:
  // gru4rec:
  //   layers: 1
  struct Options {
    int64_t layers = 1;
    static Options from(const Config& config) {
      return {.layers = config.get_int("layers", 1, 1, 16)};
    }
  };
  static constexpr SequenceNeeds kNeeds = {.every_position = true};

  Gru4rec(const Options& options, const SequenceSpec& spec) : options_(options), spec_(spec) {
    const int64_t D = spec.embed_dim;
    for (int64_t layer = 0; layer < options.layers; ++layer)
      for (const char* part : {"input", "hidden"})  // [3 D, D]: reset, update, new
        weights.push_back(register_parameter(part + std::to_string(layer), at::empty({3 * D, D})));
    dense = register_module("dense", torch::nn::Linear(D, D));
  }

  // Uniform with xavier's variance, as published; else libtorch's U(+-1 / sqrt(D)).
  void initialise(nn::InitKind kind, Random& random) override {
    const auto D = static_cast<double>(spec_.embed_dim);
    for (const torch::Tensor& weight : weights)
      nn::fill_uniform(weight,
                       kind == nn::InitKind::kXavier ? std::sqrt(6.0 / (4 * D)) : 1 / std::sqrt(D),
                       random);
  }

  SequenceStates forward(const SequenceFeatures& features) override {
    const int64_t S = features.batch.sequences();
    const nn::TimeMajor time = nn::TimeMajor::of(features.batch.offsets);
    const torch::Tensor x = nn::dropout(features.items, spec_.dropout, is_training());
    const torch::Tensor first = at::zeros({options_.layers, S, spec_.embed_dim}, x.options());
    const torch::Tensor hidden =
        std::get<0>(at::gru(at::index_select(x, 0, time.order), time.batch_sizes, first, weights,
                            /*has_biases=*/false, options_.layers, /*dropout=*/0.0, is_training(),
                            /*bidirectional=*/false));
    const torch::Tensor read = at::index_select(time.place, 0, features.reads);
    return {dense->forward(at::index_select(hidden, 0, read))};
  }

  std::vector<torch::Tensor> weights;
  torch::nn::Linear dense = nullptr;

 private:
  Options options_;
  SequenceSpec spec_;
};

LLMCF_SEQUENCE_MODEL(gru4rec, Gru4rec)

}  // namespace llmcf::models
