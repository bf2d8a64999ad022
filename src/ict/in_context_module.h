// The in-context chain-of-thought module (ICT): a small causal transformer reads K examples
// (features, chain of thought, decision) and then the query's features; the last hidden state is
// the world-knowledge and reasoning guided feature w. Sun et al., "Large Language Models Enhanced
// Collaborative Filtering", CIKM 2024, section 4.2.
//
//   B queries   K slots   S = B + E samples   E distinct examples   P width of the parts   W width
//   of frozen text   d token width   G features of a slot
//
// Beyond the paper, each an option of its own:
//   evidence   what retrieval knows of a slot (similarities, age, what the example shares with the
//              query) is added to the token that holds the example's decision: s_bk U_y, one matrix
//              U per decision
//   merged     an example is one token, feature + chain of thought + decision, instead of three
//   residual   the context is query token + gate * hidden state; the gate begins at zero, so that
//              training starts from what the row's own text gives
//
// Invariants:
//  1. A sample's feature token is computed once, however many sequences show it.
//  2. A query without examples is read alone: its context is a function of its own parts only.
//  3. In the last layer only the positions that somebody reads are computed.
#pragma once

#include <cstdint>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "ict/sequence.h"
#include "nn/attention.h"
#include "nn/init.h"
#include "nn/mlp.h"

namespace llmcf::ict {

struct InContextOptions {
  int64_t parts_width = 0;                // P
  std::vector<int64_t> token_map = {32};  // hidden widths, then d
  int64_t layers = 2;
  int64_t heads = 2;
  int64_t hidden = 0;  // of the feed-forward parts; 0 = the paper's
  bool with_cot = true;
  int64_t evidence = 0;  // G; 0 = none
  bool merged = false;
  bool residual = false;
  bool attends = true;  // false: the context is the mean of the input tokens, no transformer
  std::vector<int64_t> reconstruction_map = {};  // hidden widths, then W; empty = none
};

struct InContextInput {
  torch::Tensor parts;  // [S, P] embedded parts, queries first, then examples
  torch::Tensor text;   // [N, d] mapped text; rows [cot_row, cot_row + E) are the chains
  int64_t cot_row = 0;
  torch::Tensor frozen_cot;  // [E, W] the chains before mapping, for the reconstruction
  Slots slots;
  torch::Tensor evidence = {};  // [B, K, 2 G]: a slot's features in the half of its decision (0,
                                // 1), zeros in the other; undefined without evidence
};

struct InContextOutput {
  torch::Tensor context;         // [B, d]
  torch::Tensor reconstruction;  // scalar; undefined in evaluation mode or without reconstruction
};

class InContextModuleImpl : public torch::nn::Module, public nn::SelfInitialised {
 public:
  // Throws Error naming the option that does not fit.
  explicit InContextModuleImpl(const InContextOptions& options);

  InContextOutput forward(const InContextInput& input);
  void initialise(nn::InitKind kind, Random& random) override;

  // Computes the reconstruction loss in evaluation mode too.
  void always_reconstruct(bool on) { always_reconstruct_ = on; }

  InContextOptions options;
  nn::Mlp token_map = nullptr;          // P -> d
  torch::Tensor label;                  // [2, d]
  torch::Tensor evidence;               // [d, 2 G]
  torch::Tensor gate;                   // [d]
  std::vector<nn::CausalBlock> layers;  // layer0, layer1, ...
  nn::RmsNorm norm = nullptr;
  nn::Mlp reconstruction = nullptr;  // d -> W

 private:
  torch::Tensor make_tokens(const InContextInput& input, const torch::Tensor& feature);
  bool reconstructs(const InContextInput& input) const;
  InContextOutput attend(const InContextInput& input, const torch::Tensor& feature,
                         const torch::Tensor& tokens);

  SequenceLayout layout_;
  bool always_reconstruct_ = false;
};
TORCH_MODULE(InContextModule);

}  // namespace llmcf::ict
