// YoutubeDNN: the mean of the history, beside the user's own embedding where there is one, through
// a perceptron. Covington et al., "Deep Neural Networks for YouTube Recommendations", RecSys 2016;
// widths as the LLM-CF authors' code has them.
//
//   S sequences   R samples (one per sequence)   D width
#include <algorithm>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/linear.h>

#include "models/sequence_model.h"
#include "nn/dropout.h"
#include "nn/history.h"
#include "nn/segments.h"

namespace llmcf::models {

class Youtubednn final : public SequenceModel {
 public:
  struct Options {
    static Options from(const Config&) { return {}; }
  };
  static constexpr SequenceNeeds kNeeds = {.users = true, .concat_fusion = true};

  Youtubednn(const Options&, const SequenceSpec& spec) : spec_(spec) {
    const int64_t D = spec.embed_dim;
    dense0 = register_module("dense0", torch::nn::Linear(spec.users ? 2 * D : D, D));
    dense1 = register_module("dense1", torch::nn::Linear(D, D));
    dense2 = register_module("dense2", torch::nn::Linear(D, D));
  }

  SequenceStates forward(const SequenceFeatures& features) override {
    const auto& offsets = features.batch.offsets;
    const int64_t S = features.batch.sequences(), N = features.batch.tokens();
    tokens_ = at::arange(N, at::kInt);
    torch::Tensor weight = at::full({N}, 1.0F, at::kFloat);
    auto* share = weight.data_ptr<float>();
    for (int64_t s = 0; s < S; ++s) {
      const auto begin = offsets[static_cast<size_t>(s)], end = offsets[static_cast<size_t>(s) + 1];
      std::fill(share + begin, share + end, 1.0F / static_cast<float>(end - begin));
    }
    const nn::Histories histories = {nn::view_of(offsets), tokens_};
    const torch::Tensor mean = nn::weighted_items(histories, weight, features.items);  // [S, D]
    torch::Tensor x = spec_.users ? at::cat({features.users, mean}, 1) : mean;
    x = at::relu(dense0->forward(nn::dropout(x, spec_.dropout, is_training())));
    x = at::relu(dense1->forward(nn::dropout(x, spec_.dropout, is_training())));
    return {.state = dense2->forward(x), .summary = mean};
  }

  torch::nn::Linear dense0 = nullptr, dense1 = nullptr, dense2 = nullptr;

 private:
  SequenceSpec spec_;
  torch::Tensor tokens_;  // alive until the backward pass
};

LLMCF_SEQUENCE_MODEL(youtubednn, Youtubednn)

}  // namespace llmcf::models
