#include "models/context_source.h"

#include <algorithm>

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <fmt/format.h>

#include "core/error.h"
#include "ict/in_context_module.h"
#include "models/frozen_text.h"
#include "nn/kar.h"
#include "nn/mlp.h"

namespace llmcf::models {

namespace {

nn::Mlp make_map(int64_t input, const std::vector<int64_t>& widths) {
  std::vector<int64_t> sizes = {input};
  sizes.insert(sizes.end(), widths.begin(), widths.end());
  return nn::Mlp(nn::MlpOptions{.sizes = sizes, .last_activation = false});
}

int64_t parts_width(const ModelOptions& options, const FeatureSpec& spec) {
  return spec.num_fields() * options.embed_dim + 2 * options.text_map.back();
}

torch::Tensor view_of(const std::vector<int32_t>& values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<int32_t*>(values.data()), shape, at::kInt);  // NOLINT: read only
}

ict::Slots slots_of(const Batch& batch) {
  if (static_cast<int64_t>(batch.slot.size()) != batch.queries * batch.slots ||
      batch.example_label.size() != batch.example_ids.size())
    throw Error(fmt::format("the batch has {} slots for {} x {} and {} labels for {} examples",
                            batch.slot.size(), batch.queries, batch.slots,
                            batch.example_label.size(), batch.example_ids.size()));
  const auto E = static_cast<int64_t>(batch.example_label.size());
  ict::Slots slots{view_of(batch.slot, {batch.queries, batch.slots}),
                   view_of(batch.example_label, {E})};
  ict::check_slots(slots);
  return slots;
}

// What retrieval knows of each slot, in the half of the example's decision: [B, K, 2 G].
torch::Tensor slot_features_by_label(const Batch& batch, int64_t features) {
  const int64_t slots = batch.queries * batch.slots;
  if (static_cast<int64_t>(batch.slot_features.size()) != slots * features)
    throw Error(fmt::format("the batch has {} slot features for {} slots of {}",
                            batch.slot_features.size(), slots, features));
  torch::Tensor result = at::zeros({batch.queries, batch.slots, 2 * features});
  auto* out = result.data_ptr<float>();
  for (int64_t i = 0; i < slots; ++i) {
    const int32_t example = batch.slot[static_cast<size_t>(i)];
    if (example < 0) continue;
    const int64_t half = batch.example_label[static_cast<size_t>(example)];
    std::copy_n(batch.slot_features.data() + i * features, features,
                out + (2 * i + half) * features);
  }
  return result;
}

// The query's own feature token: what the text gives without any example.
class TextContext final : public ContextSource {
 public:
  TextContext(const ModelOptions& options, const FeatureSpec& spec, const FrozenTables& frozen)
      : text_map(register_module("text_map", make_map(spec.text_dim, options.text_map))),
        token_map(
            register_module("token_map", make_map(parts_width(options, spec), options.token_map))),
        layout_(PartsLayout::of(spec)),
        gatherer_(frozen, spec.text_dim) {}

  ContextOutput forward(const ContextInput& input) override {
    const FrozenRows frozen = gatherer_.gather(input.batch, true, false);
    const torch::Tensor parts =
        assemble_parts(layout_, input.samples, text_map->forward(frozen.values),
                       input.batch.sample_text, frozen.history_row);
    return {token_map->forward(parts.narrow(0, 0, input.batch.queries)), {}};
  }
  int64_t width() const override { return token_map->options.sizes.back(); }
  bool reads_samples() const override { return true; }

  nn::Mlp text_map, token_map;

 private:
  PartsLayout layout_;
  FrozenGatherer gatherer_;
};

// Mean of the mapped chains of thought of the row's examples; zeros without any.
class ConcatContext final : public ContextSource {
 public:
  ConcatContext(const ModelOptions& options, const FeatureSpec& spec, const FrozenTables& frozen)
      : text_map(register_module("text_map", make_map(spec.text_dim, options.text_map))),
        gatherer_(frozen, spec.text_dim) {}

  ContextOutput forward(const ContextInput& input) override {
    const Batch& batch = input.batch;
    if (batch.slots == 0 || batch.example_ids.empty())
      return {at::zeros({batch.queries, width()}), {}};
    constexpr ict::SequenceLayout kChains = {.feature = false, .label = false, .query = false};
    const ict::Slots slots = slots_of(batch);
    const FrozenRows frozen = gatherer_.gather(batch, false, true);
    const torch::Tensor chains = ict::assemble(kChains, slots, {}, text_map->forward(frozen.values),
                                               frozen.cot_row, {});  // [B, K, d]
    return {ict::mean_token(chains, ict::masked_tokens(slots, kChains)), {}};
  }
  int64_t width() const override { return text_map->options.sizes.back(); }

  nn::Mlp text_map;

 private:
  FrozenGatherer gatherer_;
};

// The in-context module: with chains of thought, without, or the mean of its input tokens.
class InContext final : public ContextSource {
 public:
  InContext(const ModelOptions& options, const FeatureSpec& spec, const FrozenTables& frozen)
      : text_map(register_module("text_map", make_map(spec.text_dim, options.text_map))),
        module(register_module("ict", ict::InContextModule(module_options(options, spec)))),
        layout_(PartsLayout::of(spec)),
        gatherer_(frozen, spec.text_dim) {
    if (options.ict_own_cot_map)
      cot_map = register_module("cot_map", make_map(spec.text_dim, options.text_map));
  }

  ContextOutput forward(const ContextInput& input) override {
    const Batch& batch = input.batch;
    const bool with_cot = module->options.with_cot;
    const FrozenRows frozen = gatherer_.gather(batch, true, with_cot);
    const torch::Tensor text = mapped(frozen);  // [N, d]
    const auto E = static_cast<int64_t>(batch.example_ids.size());
    const ict::InContextOutput output = module->forward(
        {.parts =
             assemble_parts(layout_, input.samples, text, batch.sample_text, frozen.history_row),
         .text = text,
         .cot_row = frozen.cot_row,
         .frozen_cot = with_cot ? frozen.values.narrow(0, frozen.cot_row, E) : torch::Tensor(),
         .slots = slots_of(batch),
         .evidence = evidence_of(batch)});
    return {output.context, output.reconstruction};
  }
  int64_t width() const override { return module->options.token_map.back(); }
  bool reads_samples() const override { return true; }
  void always_reconstruct(bool on) override { module->always_reconstruct(on); }

  nn::Mlp text_map;
  nn::Mlp cot_map = nullptr;  // null: chains of thought share the texts' map
  ict::InContextModule module;

 private:
  torch::Tensor mapped(const FrozenRows& frozen) {
    if (cot_map.is_empty()) return text_map->forward(frozen.values);
    const int64_t chains = frozen.values.size(0) - frozen.cot_row;
    return at::cat({text_map->forward(frozen.values.narrow(0, 0, frozen.cot_row)),
                    cot_map->forward(frozen.values.narrow(0, frozen.cot_row, chains))});
  }

  static ict::InContextOptions module_options(const ModelOptions& options,
                                              const FeatureSpec& spec) {
    std::vector<int64_t> reconstruction;
    // The public code keeps, and its weight decay moves, a network whose loss has weight 0.
    const bool kept = options.reconstruction_weight > 0 || options.paper;
    if (options.context == ContextKind::kIct && kept) {
      reconstruction = options.reconstruction_map;
      reconstruction.push_back(spec.text_dim);
    }
    return {.parts_width = parts_width(options, spec),
            .token_map = options.token_map,
            .layers = options.ict_layers,
            .heads = options.ict_heads,
            .hidden = options.ict_hidden,
            .with_cot = options.context != ContextKind::kIctWithoutCot,
            .evidence = options.ict_evidence ? slot_feature_count(spec) : 0,
            .merged = options.ict_merged,
            .residual = options.ict_residual,
            .attends = options.context != ContextKind::kMean,
            .reconstruction_map = reconstruction};
  }

  torch::Tensor evidence_of(const Batch& batch) const {
    const int64_t G = module->options.evidence;
    return G == 0 ? torch::Tensor() : slot_features_by_label(batch, G);
  }

  PartsLayout layout_;
  FrozenGatherer gatherer_;
};

// KAR: two reasoning vectors through a hybrid-expert adaptor.
class KarContext final : public ContextSource {
 public:
  KarContext(const ModelOptions& options, const FeatureSpec& spec)
      : adaptor(register_module("adaptor", nn::KarAdaptor(nn::KarAdaptorOptions{
                                               .input = spec.kar_dim,
                                               .map = options.kar_map,
                                               .shared_experts = options.kar_shared_experts,
                                               .specific_experts = options.kar_specific_experts,
                                               .dropout = options.kar_dropout}))) {}

  ContextOutput forward(const ContextInput& input) override {
    return {adaptor->forward(vectors(input.batch, input.batch.kar_user),
                             vectors(input.batch, input.batch.kar_item)),
            {}};
  }
  int64_t width() const override { return 2 * adaptor->options.map.back(); }

  nn::KarAdaptor adaptor;

 private:
  torch::Tensor vectors(const Batch& batch, const std::vector<float>& values) const {
    const int64_t B = batch.queries, W = adaptor->options.input;
    if (static_cast<int64_t>(values.size()) != B * W)
      throw Error(fmt::format("the batch carries {} values of KAR vectors for {} rows of width {}",
                              values.size(), B, W));
    return at::from_blob(const_cast<float*>(values.data()), {B, W}, at::kFloat);  // NOLINT
  }
};

void require_text(const ModelOptions& options, const FeatureSpec& spec,
                  const FrozenTables& frozen) {
  const auto need = [&](bool there, const char* what) {
    if (!there)
      throw Error(fmt::format("context '{}' reads {}, which this data set does not have",
                              context_name(options.context), what));
  };
  const bool text = uses_text(options.context), cot = uses_cot(options.context);
  need(spec.text_dim > 0 || !(text || cot), "text vectors");
  need(!frozen.item_text.empty() || !text, "item texts");
  need(!frozen.cot.empty() || !cot, "chains of thought");
  need(spec.kar_dim > 0 || options.context != ContextKind::kKar, "KAR vectors");
}

}  // namespace

std::shared_ptr<ContextSource> make_context_source(const ModelOptions& options,
                                                   const FeatureSpec& spec,
                                                   const FrozenTables& frozen) {
  require_text(options, spec, frozen);
  switch (options.context) {
    case ContextKind::kNone:
      return nullptr;
    case ContextKind::kText:
      return std::make_shared<TextContext>(options, spec, frozen);
    case ContextKind::kConcat:
      return std::make_shared<ConcatContext>(options, spec, frozen);
    case ContextKind::kIct:
    case ContextKind::kIctWithoutCot:
    case ContextKind::kMean:
      return std::make_shared<InContext>(options, spec, frozen);
    case ContextKind::kKar:
      return std::make_shared<KarContext>(options, spec);
  }
  throw Error("make_context_source: unknown context");
}

}  // namespace llmcf::models
