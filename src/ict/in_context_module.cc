#include "ict/in_context_module.h"

#include <cmath>
#include <string>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>

#include <fmt/format.h>

#include "core/error.h"
#include "ict/reconstruction.h"

namespace llmcf::ict {

namespace {

std::vector<int64_t> with_input(int64_t input, const std::vector<int64_t>& widths) {
  std::vector<int64_t> sizes = {input};
  sizes.insert(sizes.end(), widths.begin(), widths.end());
  return sizes;
}

}  // namespace

InContextModuleImpl::InContextModuleImpl(const InContextOptions& opts) : options(opts) {
  if (options.token_map.empty()) throw Error("InContextModule: token_map is empty");
  if (options.attends && options.layers < 1)
    throw Error(fmt::format("InContextModule: needs a layer, got {}", options.layers));
  const int64_t d = options.token_map.back();
  layout_.cot = options.with_cot && !options.merged;
  layout_.label = !options.merged;
  token_map = register_module(
      "token_map",
      nn::Mlp(nn::MlpOptions{.sizes = with_input(options.parts_width, options.token_map),
                             .last_activation = false}));
  label = register_parameter("label", at::empty({2, d}));
  if (options.evidence > 0)
    evidence = register_parameter("evidence", at::empty({d, 2 * options.evidence}));
  if (options.residual) gate = register_parameter("gate", at::empty({d}));
  if (!options.attends) return;
  for (int64_t i = 0; i < options.layers; ++i)
    layers.push_back(
        register_module("layer" + std::to_string(i),
                        nn::CausalBlock(nn::BlockOptions{
                            .width = d, .heads = options.heads, .hidden = options.hidden})));
  norm = register_module("norm", nn::RmsNorm(d));
  if (options.with_cot && !options.reconstruction_map.empty())
    reconstruction = register_module(
        "reconstruction", nn::Mlp(nn::MlpOptions{.sizes = with_input(d, options.reconstruction_map),
                                                 .last_activation = false}));
}

void InContextModuleImpl::initialise(nn::InitKind kind, Random& random) {
  const double variance = kind == nn::InitKind::kXavier
                              ? 2.0 / static_cast<double>(label.size(0) + label.size(1))
                              : 1.0;
  nn::fill_normal(label, std::sqrt(variance), random);
  if (evidence.defined())
    nn::fill_normal(evidence, 1.0 / std::sqrt(static_cast<double>(evidence.size(1))), random);
  if (gate.defined()) gate.zero_();
}

InContextOutput InContextModuleImpl::forward(const InContextInput& input) {
  if (input.parts.size(1) != options.parts_width)
    throw Error(fmt::format("InContextModule::forward: parts are {} wide, expected {}",
                            input.parts.size(1), options.parts_width));
  const torch::Tensor feature = token_map->forward(input.parts);  // [S, d]
  const torch::Tensor tokens = make_tokens(input, feature);       // [B, T, d]
  InContextOutput output =
      options.attends
          ? attend(input, feature, tokens)
          : InContextOutput{.context = mean_token(tokens, masked_tokens(input.slots, layout_)),
                            .reconstruction = {}};
  if (options.residual)
    output.context = feature.narrow(0, 0, input.slots.queries()) + gate * output.context;
  return output;
}

torch::Tensor InContextModuleImpl::make_tokens(const InContextInput& input,
                                               const torch::Tensor& feature) {
  const int64_t B = input.slots.queries(), K = input.slots.count(), d = feature.size(1);
  torch::Tensor samples = feature;
  if (options.merged && K > 0) {
    const int64_t E = input.slots.label.numel();
    torch::Tensor examples =
        feature.narrow(0, B, E) + at::index_select(label, 0, input.slots.label);
    if (options.with_cot) examples = examples + input.text.narrow(0, input.cot_row, E);
    samples = at::cat({feature.narrow(0, 0, B), examples});
  }
  const torch::Tensor tokens =
      assemble(layout_, input.slots, samples, input.text, input.cot_row, label);
  if (options.evidence == 0 || K == 0) return tokens;
  if (!input.evidence.defined() || input.evidence.size(2) != 2 * options.evidence)
    throw Error(fmt::format("InContextModule::forward: expected evidence of 2 x {} features",
                            options.evidence));
  const int64_t step = layout_.step();
  tokens.narrow(1, 0, K * step)
      .view({B, K, step, d})
      .select(2, step - 1)
      .add_(at::linear(input.evidence, evidence));
  return tokens;
}

// In training, and only where there is something to predict.
bool InContextModuleImpl::reconstructs(const InContextInput& input) const {
  return !reconstruction.is_empty() && input.slots.count() > 0 &&
         (is_training() || always_reconstruct_);
}

InContextOutput InContextModuleImpl::attend(const InContextInput& input,
                                            const torch::Tensor& feature,
                                            const torch::Tensor& tokens) {
  const int64_t K = input.slots.count(), T = tokens.size(1);
  // Read by somebody: the query, and the feature tokens when their hidden states reconstruct. A
  // merged token has seen its chain of thought: there the token that went into it reconstructs.
  const bool all_features = reconstructs(input) && !options.merged;
  const nn::Positions last = all_features ? nn::Positions{.first = 0, .stride = layout_.step()}
                                          : nn::Positions{.first = T - 1, .stride = 1};
  const torch::Tensor masked = masked_tokens(input.slots, layout_);
  torch::Tensor h = tokens;
  for (size_t i = 0; i < layers.size(); ++i)
    h = layers[i]->forward(h, masked, i + 1 == layers.size() ? last : nn::Positions{});
  h = norm->forward(h);  // [B, K + 1, d] or [B, 1, d]
  InContextOutput output{.context = h.select(1, h.size(1) - 1), .reconstruction = {}};
  if (!reconstructs(input)) return output;
  if (all_features) {
    const torch::Tensor examples = h.narrow(1, 0, K).reshape({-1, h.size(2)});  // [B K, d]
    output.reconstruction =
        reconstruction_loss(reconstruction->forward(examples), input.frozen_cot, input.slots.slot);
  } else {
    const int64_t E = input.slots.label.numel();
    output.reconstruction =
        reconstruction_loss(reconstruction->forward(feature.narrow(0, input.slots.queries(), E)),
                            input.frozen_cot, at::arange(E, at::kInt));
  }
  return output;
}

}  // namespace llmcf::ict
