#include "ict/in_context_module.h"

#include <cmath>
#include <string>

#include <ATen/ops/empty.h>

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
  layout_.cot = options.with_cot;
  token_map = register_module(
      "token_map",
      nn::Mlp(nn::MlpOptions{.sizes = with_input(options.parts_width, options.token_map),
                             .last_activation = false}));
  label = register_parameter("label", at::empty({2, d}));
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
}

InContextOutput InContextModuleImpl::forward(const InContextInput& input) {
  if (input.parts.size(1) != options.parts_width)
    throw Error(fmt::format("InContextModule::forward: parts are {} wide, expected {}",
                            input.parts.size(1), options.parts_width));
  const torch::Tensor feature = token_map->forward(input.parts);  // [S, d]
  const torch::Tensor tokens =
      assemble(layout_, input.slots, feature, input.text, input.cot_row, label);  // [B, T, d]
  if (options.attends) return attend(input, tokens);
  return {.context = mean_token(tokens, masked_tokens(input.slots, layout_)), .reconstruction = {}};
}

InContextOutput InContextModuleImpl::attend(const InContextInput& input,
                                            const torch::Tensor& tokens) {
  const int64_t K = input.slots.count(), T = tokens.size(1);
  const bool reconstructs =
      !reconstruction.is_empty() && K > 0 && (is_training() || always_reconstruct_);
  // Read by somebody: the query, and the feature tokens when they reconstruct.
  const nn::Positions last = reconstructs ? nn::Positions{.first = 0, .stride = layout_.step()}
                                          : nn::Positions{.first = T - 1, .stride = 1};
  const torch::Tensor masked = masked_tokens(input.slots, layout_);
  torch::Tensor h = tokens;
  for (size_t i = 0; i < layers.size(); ++i)
    h = layers[i]->forward(h, masked, i + 1 == layers.size() ? last : nn::Positions{});
  h = norm->forward(h);  // [B, K + 1, d] or [B, 1, d]
  InContextOutput output{.context = h.select(1, h.size(1) - 1), .reconstruction = {}};
  if (reconstructs) {
    const torch::Tensor examples = h.narrow(1, 0, K).reshape({-1, h.size(2)});  // [B K, d]
    output.reconstruction =
        reconstruction_loss(reconstruction->forward(examples), input.frozen_cot, input.slots.slot);
  }
  return output;
}

}  // namespace llmcf::ict
