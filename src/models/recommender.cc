#include "models/recommender.h"

#include <optional>
#include <string>

#include <ATen/core/grad_mode.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"

namespace llmcf::models {

namespace {

std::optional<float> fixed_bias(const ModelOptions& options, uint64_t seed) {
  if (options.trains_linear_bias) return std::nullopt;
  if (options.fixed_linear_bias) return options.fixed_linear_bias;
  return static_cast<float>(Random(seed, "init.linear_bias").normal());
}

BackboneSpec backbone_spec(const FeatureSpec& spec, const ModelOptions& options,
                           const ContextSource* context, uint64_t seed) {
  BackboneSpec backbone{.num_fields = spec.num_fields(),
                        .embed_dim = options.embed_dim,
                        .context_dim = context == nullptr ? 0 : context->width(),
                        .roles = {},
                        .mlp = options.mlp,
                        .dropout = options.dropout,
                        .fixed_linear_bias = fixed_bias(options, seed)};
  for (const FieldSpec& field : spec.fields)
    backbone.roles.push_back(field.role);
  backbone.sequence_fields = spec.sequence_fields;
  return backbone;
}

}  // namespace

Recommender::Recommender(const FeatureSpec& spec, const ModelOptions& options,
                         const FrozenTables& frozen, uint64_t seed)
    : spec_(spec), options_(options) {
  const CtrEntry& entry = ctr_model(options.backbone);
  const nn::InitKind kind = init_kind(options, entry.needs.init);
  reads_history_ = entry.needs.history;
  if (reads_history_ && spec.sequence_fields.empty())
    throw Error(
        fmt::format("backbone '{}' reads histories item by item, which the features were "
                    "made without; set FeatureInputs::histories",
                    options.backbone));
  make_tables(spec.tables,
              {.dim = options.embed_dim,
               .first_order = entry.needs.first_order,
               .init = kind,
               .zero_padding = !options.decays_padding},
              seed);
  context_ = make_context_source(options, spec, frozen);
  if (context_ != nullptr) register_module("context", context_);
  if (options.gated) {
    if (!uses_examples(options.context))
      throw Error(fmt::format("a gate needs a context that reads examples, not '{}'",
                              context_name(options.context)));
    gate_ = register_module("gate", SimilarityGate());
  }
  if (options.alignment) alignment_ = register_module("alignment", Alignment(context_->width()));
  backbone_ =
      register_module("backbone", entry.make(options.backbone_options,
                                             {.paper = options.paper, .context = options.context},
                                             backbone_spec(spec, options, context_.get(), seed)));
  nn::initialise(*this, kind, seed, "");
}

// Says what each field pools, in terms of the batch's own arrays.
void Recommender::describe(const Batch& batch) {
  if (batch.fields.size() != spec_.fields.size() || batch.tables.size() != spec_.tables.size())
    throw Error(fmt::format("the batch has {} fields and {} tables, the model {} and {}",
                            batch.fields.size(), batch.tables.size(), spec_.fields.size(),
                            spec_.tables.size()));
  pooled_ = {.queries = batch.queries,
             .samples = batch.samples,
             .dim = options_.embed_dim,
             .fields = {},
             .frozen_rows = {}};
  for (const TableRows& table : batch.tables)
    pooled_.frozen_rows.push_back(!table.rows.empty() && table.rows.front() == 0 ? 0 : -1);
  const bool linear = tables_.empty() ? false : tables_.front()->has_first_order();
  for (size_t f = 0; f < batch.fields.size(); ++f) {
    const Bag& bag = batch.fields[f];
    if (static_cast<int64_t>(bag.offsets.size()) != batch.samples + 1)
      throw Error(fmt::format("field '{}' has {} bags for {} samples", spec_.fields[f].name,
                              static_cast<int64_t>(bag.offsets.size()) - 1, batch.samples));
    pooled_.fields.push_back(
        {.offsets = &bag.offsets,
         .ids = &bag.ids,
         .weights = &bag.weights,
         .table = spec_.fields[f].table,
         .first_order = linear && spec_.fields[f].role != FieldRole::kHistory});
  }
}

RecommenderOutput Recommender::forward(const Batch& batch) {
  describe(batch);
  const std::vector<torch::Tensor> slabs = gather(batch.tables);
  const nn::Pooled pooled =
      nn::pool(slabs, pooled_, context_ != nullptr && context_->reads_samples());
  RecommenderOutput output;
  if (context_ != nullptr) {
    const ContextOutput made = context_->forward({batch, pooled.samples});
    output.context = made.context;
    output.reconstruction = made.reconstruction;
    if (!gate_.is_empty()) {
      output.gate = gate_->forward(batch);
      output.context = output.context * output.gate.unsqueeze(1);
    }
    if (!alignment_.is_empty()) output.context = output.context + alignment_->forward(batch);
  }
  Features features{.fields = pooled.queries,
                    .first_order = pooled.first_order,
                    .context = output.context,
                    .history_items = {},
                    .history = {}};
  if (reads_history_) add_history(batch, slabs, features);
  output.logits = backbone_->forward(features);
  return output;
}

// The distinct items of the histories are bags over the same slabs, so their gradients meet those
// of the fields.
void Recommender::add_history(const Batch& batch, const std::vector<torch::Tensor>& slabs,
                              Features& features) {
  const HistoryItems& history = batch.history;
  if (history.fields.size() != spec_.sequence_fields.size() ||
      static_cast<int64_t>(history.offsets.size()) != batch.queries + 1)
    throw Error(fmt::format("the batch has {} history fields and {} histories, the model {} and {}",
                            history.fields.size(), static_cast<int64_t>(history.offsets.size()) - 1,
                            spec_.sequence_fields.size(), batch.queries));
  pooled_items_ = {.queries = history.distinct,
                   .samples = history.distinct,
                   .dim = options_.embed_dim,
                   .fields = {},
                   .frozen_rows = pooled_.frozen_rows};
  for (size_t g = 0; g < history.fields.size(); ++g) {
    const Bag& bag = history.fields[g];
    const auto field = static_cast<size_t>(spec_.sequence_fields[g]);
    pooled_items_.fields.push_back({.offsets = &bag.offsets,
                                    .ids = &bag.ids,
                                    .weights = &bag.weights,
                                    .table = spec_.fields[field].table,
                                    .first_order = false});
  }
  features.history_items = nn::pool(slabs, pooled_items_, false).queries;
  features.history = nn::Histories::of(history.offsets, history.items);
}

Losses Recommender::loss(const Batch& batch) {
  const RecommenderOutput output = forward(batch);
  return objective({.on_probabilities = options_.loss_on_probabilities,
                    .distillation_weight = options_.distillation_weight,
                    .distillation_temperature = options_.distillation_temperature,
                    .reconstruction_weight = options_.reconstruction_weight},
                   output.logits, batch.labels, batch.teacher_logits, output.reconstruction);
}

void Recommender::always_reconstruct(bool on) {
  if (context_ != nullptr) context_->always_reconstruct(on);
}

}  // namespace llmcf::models
