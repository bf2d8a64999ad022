// SASRec: causal self-attention over the history. Kang and McAuley, "Self-Attentive Sequential
// Recommendation", ICDM 2018; block by block as the LLM-CF authors' code has it:
//   q = LN(x);  x = q + MHA(q, x, x);  x = LN(x);  x = x + W2 relu(W1 x)
// with learned positions counted from the oldest item of the window, embeddings times sqrt(D) and a
// last layer norm. Sequences are packed, so nothing is padded or masked.
//
//   N tokens   D width
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/linear.h>

#include <fmt/format.h>

#include "core/error.h"
#include "models/sequence_model.h"
#include "nn/dropout.h"
#include "nn/norm.h"
#include "nn/segments.h"

namespace llmcf::models {

class Sasrec final : public SequenceModel, public nn::SelfInitialised {
 public:
  // sasrec:
  //   blocks: 2   # the LLM-CF authors: 1
  //   heads: 2
  struct Options {
    int64_t blocks = 2;
    int64_t heads = 2;
    static Options from(const Config& config) {
      Options options;
      options.blocks = config.get_int("blocks", options.blocks, 1, 64);
      options.heads = config.get_int("heads", options.heads, 1, 64);
      return options;
    }
  };
  static constexpr SequenceNeeds kNeeds = {.every_position = true,
                                           .paper_init = nn::InitKind::kDefault};

  Sasrec(const Options& options, const SequenceSpec& spec) : options_(options), spec_(spec) {
    const int64_t D = spec.embed_dim;
    if (D % (2 * options.heads) != 0)
      throw Error(
          fmt::format("sasrec: embed_dim {} is not a multiple of 2 x {} heads", D, options.heads));
    positions = register_parameter("positions", at::empty({spec.history_length, D}));
    for (int64_t b = 0; b < options.blocks; ++b) {
      const std::string block = "block" + std::to_string(b);
      blocks.push_back({register_module(block + "_attention_norm", nn::LayerNorm(D, kEpsilon)),
                        register_module(block + "_in", torch::nn::Linear(D, 3 * D)),
                        register_module(block + "_out", torch::nn::Linear(D, D)),
                        register_module(block + "_forward_norm", nn::LayerNorm(D, kEpsilon)),
                        register_module(block + "_forward0", torch::nn::Linear(D, D)),
                        register_module(block + "_forward1", torch::nn::Linear(D, D))});
    }
    last_norm = register_module("last_norm", nn::LayerNorm(D, kEpsilon));
  }

  void initialise(nn::InitKind kind, Random& random) override {
    const auto total = static_cast<double>(positions.size(0) + positions.size(1));
    nn::fill_normal(positions, kind == nn::InitKind::kXavier ? std::sqrt(2.0 / total) : 1.0,
                    random);
  }

  SequenceStates forward(const SequenceFeatures& features) override {
    const torch::Tensor offsets = nn::view_of(features.batch.offsets);
    const int64_t D = spec_.embed_dim;
    torch::Tensor x = features.items * std::sqrt(static_cast<double>(D)) +
                      at::index_select(positions, 0, nn::token_places(features.batch.offsets));
    x = dropped(x);
    for (Block& block : blocks) {
      const torch::Tensor q = block.attention_norm->forward(x);
      const auto weight = block.in->weight.split({D, 2 * D});
      const auto bias = block.in->bias.split({D, 2 * D});
      const torch::Tensor qkv =
          at::cat({at::linear(q, weight[0], bias[0]), at::linear(x, weight[1], bias[1])}, 1);
      x = q + block.out->forward(nn::segment_attention(qkv, offsets, options_.heads));
      x = block.forward_norm->forward(x);
      const torch::Tensor hidden = at::relu(dropped(block.forward0->forward(x)));
      x = x + dropped(block.forward1->forward(hidden));
    }
    return {last_norm->forward(at::index_select(x, 0, features.reads))};
  }

  struct Block {
    nn::LayerNorm attention_norm;
    torch::nn::Linear in, out;  // [3 D, D] queries, keys, values
    nn::LayerNorm forward_norm;
    torch::nn::Linear forward0, forward1;
  };
  torch::Tensor positions;  // [history_length, D]
  std::vector<Block> blocks;
  nn::LayerNorm last_norm = nullptr;

 private:
  static constexpr double kEpsilon = 1e-8;

  torch::Tensor dropped(const torch::Tensor& x) const {
    return nn::dropout(x, spec_.dropout, is_training());
  }

  Options options_;
  SequenceSpec spec_;
};

LLMCF_SEQUENCE_MODEL(sasrec, Sasrec)

}  // namespace llmcf::models
