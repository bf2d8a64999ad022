// SR-GNN: a gated graph network over the distinct items of the history and attention to its last
// item. Wu et al., "Session-based Recommendation with Graph Neural Networks", AAAI 2019, equations
// 1 to 8 and its authors' code; the LLM-CF authors' code gives the nodes wrong features, which is
// not reproduced under any protocol.
//
//   S sequences   N tokens   M nodes   R samples (one per sequence)   D width
#include <cmath>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <torch/nn/modules/linear.h>

#include "models/sequence_model.h"
#include "nn/dropout.h"
#include "nn/history.h"
#include "nn/segments.h"

namespace llmcf::models {

class Srgnn final : public SequenceModel, public nn::SelfInitialised {
 public:
  // srgnn:
  //   steps: 1   # of message passing
  struct Options {
    int64_t steps = 1;
    static Options from(const Config& config) {
      return {.steps = config.get_int("steps", 1, 1, 16)};
    }
  };
  static constexpr SequenceNeeds kNeeds = {.graphs = true};

  Srgnn(const Options& options, const SequenceSpec& spec) : options_(options), spec_(spec) {
    const int64_t D = spec.embed_dim;
    edge_in = register_module("edge_in", torch::nn::Linear(D, D));
    edge_out = register_module("edge_out", torch::nn::Linear(D, D));
    bias_in = register_parameter("bias_in", at::empty({D}));
    bias_out = register_parameter("bias_out", at::empty({D}));
    input = register_module("input", torch::nn::Linear(2 * D, 3 * D));  // reset, update, new
    hidden = register_module("hidden", torch::nn::Linear(D, 3 * D));
    last = register_module("last", torch::nn::Linear(D, D));
    each = register_module("each", torch::nn::Linear(D, D));
    score = register_module("score", torch::nn::Linear(torch::nn::LinearOptions(D, 1).bias(false)));
    readout = register_module("readout", torch::nn::Linear(2 * D, D));
  }

  void initialise(nn::InitKind kind, Random& random) override {
    const double bound = 1 / std::sqrt(static_cast<double>(spec_.embed_dim));
    for (const torch::Tensor& bias : {bias_in, bias_out}) {
      if (kind == nn::InitKind::kXavier) {
        bias.zero_();
      } else {
        nn::fill_uniform(bias, bound, random);
      }
    }
  }

  SequenceStates forward(const SequenceFeatures& features) override {
    const SequenceBatch& batch = features.batch;
    torch::Tensor nodes = nn::dropout(features.nodes, spec_.dropout, is_training());
    for (int64_t step = 0; step < options_.steps; ++step)
      nodes = passed(batch.graphs, nodes);
    const nn::Histories tokens = nn::Histories::of(batch.offsets, batch.graphs.alias);
    const torch::Tensor last_nodes = at::index_select(tokens.items, 0, features.reads);
    const torch::Tensor last_state = at::index_select(nodes, 0, last_nodes);  // [S, D]
    // One weight per token, though an item's state is the same each time it comes: [N].
    const torch::Tensor weight =
        score
            ->forward(at::sigmoid(
                at::index_select(each->forward(nodes), 0, tokens.items) +
                at::index_select(last->forward(last_state), 0, nn::token_owners(batch.offsets))))
            .squeeze(1);
    const torch::Tensor global = nn::weighted_items(tokens, weight, nodes);  // [S, D]
    return {readout->forward(at::cat({global, last_state}, 1))};
  }

  torch::nn::Linear edge_in = nullptr, edge_out = nullptr, input = nullptr, hidden = nullptr;
  torch::Tensor bias_in, bias_out;  // [D]
  torch::nn::Linear last = nullptr, each = nullptr, score = nullptr, readout = nullptr;

 private:
  // What every node hears through weighted edges: [M, D].
  static torch::Tensor heard(const GraphEdges& edges, const torch::Tensor& from) {
    const nn::Histories histories = nn::Histories::of(edges.offsets, edges.nodes);
    return nn::weighted_items(
        histories,
        at::from_blob(const_cast<float*>(edges.weights.data()),  // NOLINT: read only
                      {static_cast<int64_t>(edges.weights.size())}, at::kFloat),
        from);
  }

  torch::Tensor passed(const SessionGraphs& graphs, const torch::Tensor& nodes) {
    const torch::Tensor in = heard(graphs.incoming, edge_in->forward(nodes)) + bias_in;
    const torch::Tensor out = heard(graphs.outgoing, edge_out->forward(nodes)) + bias_out;
    const auto from_input = input->forward(at::cat({in, out}, 1)).chunk(3, 1);
    const auto from_hidden = hidden->forward(nodes).chunk(3, 1);
    const torch::Tensor reset = at::sigmoid(from_input[0] + from_hidden[0]);
    const torch::Tensor update = at::sigmoid(from_input[1] + from_hidden[1]);
    const torch::Tensor fresh = at::tanh(from_input[2] + reset * from_hidden[2]);
    return fresh + update * (nodes - fresh);
  }

  Options options_;
  SequenceSpec spec_;
};

LLMCF_SEQUENCE_MODEL(srgnn, Srgnn)

}  // namespace llmcf::models
