#include "models/sequence_recommender.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>

#include <fmt/format.h>

#include "core/error.h"
#include "models/sequence_objective.h"
#include "nn/segments.h"

namespace llmcf::models {

namespace {

// The parts of a sample as fields, in the published order: the context source puts the mapped text
// of the history behind its summary and that of the item behind the item.
FeatureSpec spec_of(const SequenceData& data, bool user_ids) {
  FeatureSpec spec{.tables = {{"item_id", data.item_rows}, {"user_id", data.user_rows}},
                   .fields = {{"user_id", static_cast<int>(kUserTable), FieldRole::kUser, true},
                              {"history", static_cast<int>(kItemTable), FieldRole::kHistory, false},
                              {"item_id", static_cast<int>(kItemTable), FieldRole::kItem, true}},
                   .text_dim = data.text_dim};
  if (!user_ids) spec.fields.erase(spec.fields.begin());
  return spec;
}

// The same values; row 0 is cut off from the gradient.
torch::Tensor with_fixed_padding(const torch::Tensor& slab, const std::vector<int32_t>& rows) {
  if (rows.empty() || rows.front() != 0 || !at::GradMode::is_enabled()) return slab;
  return at::cat({slab.narrow(0, 0, 1).detach(), slab.narrow(0, 1, slab.size(0) - 1)});
}

void check(const SequenceBatch& batch, bool every_position) {
  const auto R = static_cast<size_t>(batch.common.samples);
  const auto fail = [](const char* what, size_t found, size_t expected) {
    throw Error(fmt::format("the batch has {} {}, expected {}", found, what, expected));
  };
  if (batch.reads.size() != R) fail("reads", batch.reads.size(), R);
  if (batch.sample_user.size() != R) fail("users of samples", batch.sample_user.size(), R);
  if (batch.sample_item.size() != R) fail("items of samples", batch.sample_item.size(), R);
  if (!every_position && batch.sequences() != static_cast<int64_t>(R))
    fail("sequences, and the backbone has one state for each",
         static_cast<size_t>(batch.sequences()), R);
}

}  // namespace

SequenceRecommender::SequenceRecommender(const SequenceData& data, const ModelOptions& options,
                                         const FrozenTables& frozen, uint64_t seed)
    : data_(data), options_(options) {
  const SequenceEntry& entry = sequence_model(options.backbone);
  const nn::InitKind kind =
      init_kind(options, options.paper ? entry.needs.paper_init : nn::InitKind::kXavier);
  const bool user_ids = options.sequence.user_ids;
  const FeatureSpec spec = spec_of(data, user_ids);
  std::vector<TableSpec> tables = spec.tables;
  if (!user_ids || (!entry.needs.users && !uses_text(options.context))) tables.resize(kUserTable);
  make_tables(tables,
              {.dim = options.embed_dim, .init = kind, .zero_padding = !options.decays_padding},
              seed);
  options_.sequence.catalogue = data.items;
  reads_graphs_ = entry.needs.graphs;
  context_ = make_context_source(options, spec, frozen);
  if (context_ != nullptr) {
    register_module("context", context_);
    const int64_t C = context_->width(), D = options.embed_dim;
    if (options.sequence.concat_fusion) {
      fusion0_ = register_module("fusion0", torch::nn::Linear(D + C, D));
      fusion1_ = register_module("fusion1", torch::nn::Linear(D, D));
    } else if (C != D) {
      throw Error(
          fmt::format("fusion 'add' needs a context as wide as the embeddings: it is {} "
                      "wide, embed_dim is {}. Set token_map and text_map, or fusion: "
                      "concat",
                      C, D));
    }
  }
  backbone_ = register_module(
      "backbone", entry.make(options.backbone_options, {.embed_dim = options.embed_dim,
                                                        .history_length = data.history_length,
                                                        .dropout = options.dropout,
                                                        .users = user_ids}));
  nn::initialise(*this, kind, seed, "");
}

SequenceRecommenderOutput SequenceRecommender::forward(const SequenceBatch& batch) {
  check(batch, sequence_model(options_.backbone).needs.every_position);
  const std::vector<torch::Tensor> slabs = gather(batch.common.tables);
  const torch::Tensor items =
      with_fixed_padding(slabs[kItemTable], batch.common.tables[kItemTable].rows);
  const torch::Tensor users =
      slabs.size() > kUserTable
          ? at::index_select(slabs[kUserTable], 0, nn::view_of(batch.sample_user))
          : torch::Tensor();
  const SequenceFeatures features{
      .batch = batch,
      .items = at::index_select(items, 0, nn::view_of(batch.items)),
      .nodes = reads_graphs_ ? at::index_select(items, 0, nn::view_of(batch.graphs.items))
                             : torch::Tensor(),
      .users = users,
      .reads = nn::view_of(batch.reads)};
  const SequenceStates states = backbone_->forward(features);
  SequenceRecommenderOutput output{.state = states.state.narrow(0, 0, batch.common.queries),
                                   .context = {},
                                   .reconstruction = {},
                                   .items = items};
  if (context_ == nullptr) return output;
  torch::Tensor samples;
  if (context_->reads_samples()) {
    const torch::Tensor summary = states.summary.defined() ? states.summary : states.state;
    const torch::Tensor item = at::index_select(items, 0, nn::view_of(batch.sample_item));
    samples = users.defined() ? at::stack({users, summary, item}, 1)  // [R, 3, D]
                              : at::stack({summary, item}, 1);
  }
  const ContextOutput made = context_->forward({batch.common, samples});
  output.context = made.context;
  output.reconstruction = made.reconstruction;
  output.state = fused(output.state, made.context);
  return output;
}

torch::Tensor SequenceRecommender::fused(const torch::Tensor& state, const torch::Tensor& context) {
  if (fusion0_.is_empty()) return state + options_.sequence.context_weight * context;
  return fusion1_->forward(at::gelu(fusion0_->forward(at::cat({state, context}, 1))));
}

Losses SequenceRecommender::loss(const SequenceBatch& batch) {
  const SequenceRecommenderOutput output = forward(batch);
  const torch::Tensor next = next_item_loss(options_.sequence, output.state, output.items, batch);
  Losses losses;
  losses.click = next.item<double>();
  losses.total = next;
  if (output.reconstruction.defined()) {
    losses.reconstruction = output.reconstruction.item<double>();
    losses.total = next + options_.reconstruction_weight * output.reconstruction;
  }
  return losses;
}

torch::Tensor SequenceRecommender::item_vectors() const {
  return tables_[kItemTable]->embedding().narrow(0, 0, data_.items + 1).contiguous();
}

void SequenceRecommender::always_reconstruct(bool on) {
  if (context_ != nullptr) context_->always_reconstruct(on);
}

}  // namespace llmcf::models
