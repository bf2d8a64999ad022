#include "train/sequence_builder.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "models/session_graph.h"
#include "train/fill_slots.h"
#include "train/id_set.h"

namespace llmcf::train {

using models::NextItemLoss;
using models::SequenceBatch;

struct SequenceBuilder::Impl {
  Impl(const SequenceStore& features, const models::ModelOptions& options)
      : store(features),
        model(options),
        graphs(models::reads_session_graphs(options)),
        items(features.data().item_rows),
        users(features.data().user_rows),
        texts(features.data().text_dim > 0 ? features.data().items + 1 : 0),
        examples(features.inputs().examples.size()) {
    if (model.sequence.loss != NextItemLoss::kInBatch) return;
    const auto counts = store.inputs().rows->item_train_count();
    double total = 0;
    for (const int32_t count : counts)
      total += count + 1;  // an item that is no training target still has a share
    for (const int32_t count : counts)
      log_share.push_back(static_cast<float>(std::log((count + 1) / total)));
  }

  void add_tokens(int32_t user, int32_t begin, int32_t end, SequenceBatch& batch) const;
  void add_queries(data::Split split, const SequenceUnits& from, std::span<const int64_t> units,
                   SequenceBatch& batch);
  void add_examples(data::Split split, SequenceBatch& batch);
  void add_slot_features(data::Split split, SequenceBatch& batch) const;
  void add_targets(data::Split split, const NegativeDraw& draw, SequenceBatch& batch);
  void add_texts(data::Split split, SequenceBatch& batch);
  void add_graphs(SequenceBatch& batch);
  void to_slab_rows(SequenceBatch& batch, bool whole_table);

  const SequenceStore& store;
  const models::ModelOptions& model;
  bool graphs;
  IdSet items, users, texts, examples;
  models::SessionGraphBuilder graph_builder;
  std::vector<float> log_share;     // by item; in_batch only
  std::vector<int64_t> query_rows;  // [Q] rows of the split
};

void SequenceBuilder::Impl::add_tokens(int32_t user, int32_t begin, int32_t end,
                                       SequenceBatch& batch) const {
  const auto history = store.inputs().rows->history(user, end).subspan(static_cast<size_t>(begin));
  batch.items.insert(batch.items.end(), history.begin(), history.end());
  if (history.empty()) batch.items.push_back(0);
  batch.offsets.push_back(static_cast<int32_t>(batch.items.size()));
}

void SequenceBuilder::Impl::add_queries(data::Split split, const SequenceUnits& from,
                                        std::span<const int64_t> units, SequenceBatch& batch) {
  batch.offsets.assign(1, 0);
  batch.items.clear();
  batch.reads.clear();
  batch.sample_user.clear();
  batch.sample_item.clear();
  query_rows.clear();
  for (const int64_t place : units) {
    const SequenceUnit& unit = from.units[static_cast<size_t>(place)];
    const int32_t first_token = batch.offsets.back();
    add_tokens(unit.user, unit.begin, unit.end, batch);
    for (int64_t index = unit.first; index < unit.last; ++index) {
      const int64_t row = from.rows[static_cast<size_t>(index)];
      const int32_t read = store.position(split, row) - unit.begin - 1;  // -1: before any item
      query_rows.push_back(row);
      batch.reads.push_back(first_token + std::max(read, 0));
      batch.sample_user.push_back(store.base().user_row(unit.user));
      batch.sample_item.push_back(0);
    }
  }
  batch.common.queries = static_cast<int64_t>(query_rows.size());
}

void SequenceBuilder::Impl::add_examples(data::Split split, SequenceBatch& batch) {
  const SlotColumns& slots = store.inputs().slots[static_cast<size_t>(split)];
  models::Batch& common = batch.common;
  fill_slots(slots, store.inputs().k, query_rows, examples, common);
  const ExampleColumns& columns = store.inputs().examples;
  const auto L = static_cast<int32_t>(store.data().history_length);
  common.example_label.clear();
  for (const int32_t example : common.example_ids) {
    const auto index = static_cast<size_t>(example);
    const int32_t end = columns.position[index];
    add_tokens(columns.user[index], std::max(0, end - L), end, batch);
    batch.reads.push_back(batch.offsets.back() - 1);
    batch.sample_user.push_back(store.base().user_row(columns.user[index]));
    batch.sample_item.push_back(columns.item[index]);
    common.example_label.push_back(columns.label[index] > 0.5F ? 1 : 0);
  }
  common.samples = static_cast<int64_t>(batch.reads.size());
}

// As in models/batch.h; the target is unknown, so what compares with it is 0.
void SequenceBuilder::Impl::add_slot_features(data::Split split, SequenceBatch& batch) const {
  models::Batch& common = batch.common;
  common.slot_features.clear();
  if (!store.inputs().slot_features) return;
  const auto k = static_cast<size_t>(store.inputs().k);
  constexpr auto G = static_cast<size_t>(models::kFixedSlotFeatures);
  const ExampleColumns& pool = store.inputs().examples;
  common.slot_features.assign(common.slot.size() * G, 0.0F);
  for (size_t slot = 0; slot < common.slot.size(); ++slot) {
    if (common.slot[slot] < 0) continue;
    const auto example =
        static_cast<size_t>(common.example_ids[static_cast<size_t>(common.slot[slot])]);
    float* out = common.slot_features.data() + slot * G;
    out[0] = out[1] = models::slot_similarity(common.slot_similarity[slot]);
    const int64_t time = store.time(split, query_rows[slot / k]);
    if (!pool.time.empty()) out[3] = models::slot_age(time - pool.time[example]);
  }
}

void SequenceBuilder::Impl::add_targets(data::Split split, const NegativeDraw& draw,
                                        SequenceBatch& batch) {
  for (const int64_t row : query_rows) {
    const int32_t item = store.item(split, row);
    batch.target.push_back(item);
    if (!log_share.empty()) batch.log_share.push_back(log_share[static_cast<size_t>(item)]);
  }
  const NextItemLoss loss = model.sequence.loss;
  if (loss == NextItemLoss::kSoftmax || loss == NextItemLoss::kInBatch) return;
  const int64_t catalogue = store.data().items;
  const int64_t wanted = std::min(model.sequence.negatives, catalogue);
  Random random(draw.seed, fmt::format("negatives {} {}", draw.epoch, draw.batch));
  // Floyd's sampling without replacement: the last of [1, j] where a draw was there before.
  for (int64_t j = catalogue - wanted + 1; j <= catalogue; ++j) {
    const auto drawn = static_cast<int32_t>(random.below(static_cast<uint64_t>(j)) + 1);
    const bool known =
        std::find(batch.negative.begin(), batch.negative.end(), drawn) != batch.negative.end();
    batch.negative.push_back(known ? static_cast<int32_t>(j) : drawn);
  }
}

void SequenceBuilder::Impl::add_texts(data::Split split, SequenceBatch& batch) {
  const auto width = static_cast<size_t>(store.data().text_dim);
  models::Batch& common = batch.common;
  common.sample_text.clear();
  if (width == 0) return;
  for (const int32_t item : batch.sample_item)
    texts.mark(item);
  texts.list(common.text_items);
  common.history_text.resize(batch.sample_item.size() * width);
  for (size_t sample = 0; sample < batch.sample_item.size(); ++sample) {
    common.sample_text.push_back(texts.place(batch.sample_item[sample]));
    const std::span<float> out = std::span(common.history_text).subspan(sample * width, width);
    if (sample < query_rows.size()) {
      const int64_t row = query_rows[sample];
      store.base().history_text(store.user(split, row), store.position(split, row), out);
    } else {
      store.base().example_history_text(common.example_ids[sample - query_rows.size()], out);
    }
  }
}

// Before items become slab rows: nodes are numbered by item.
void SequenceBuilder::Impl::add_graphs(SequenceBatch& batch) {
  if (!graphs) return;
  graph_builder.begin(store.data().item_rows, batch.graphs);
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(batch.offsets[s]);
    graph_builder.add(
        std::span(batch.items).subspan(begin, static_cast<size_t>(batch.offsets[s + 1]) - begin),
        batch.graphs);
  }
}

void SequenceBuilder::Impl::to_slab_rows(SequenceBatch& batch, bool whole_table) {
  batch.common.tables.resize(2);
  const auto replace = [](IdSet& set, std::initializer_list<std::vector<int32_t>*> lists,
                          std::vector<int32_t>& rows) {
    for (const auto* list : lists)
      for (const int32_t id : *list)
        set.mark(id);
    set.list(rows);
    for (auto* list : lists)
      for (int32_t& id : *list)
        id = set.place(id);
  };
  if (whole_table)
    for (int32_t item = 0; item <= store.data().items; ++item)
      items.mark(item);
  replace(items,
          {&batch.items, &batch.sample_item, &batch.target, &batch.negative, &batch.graphs.items},
          batch.common.tables[models::kItemTable].rows);
  replace(users, {&batch.sample_user}, batch.common.tables[models::kUserTable].rows);
}

SequenceBuilder::SequenceBuilder(const SequenceStore& store, const models::ModelOptions& model)
    : impl_(std::make_unique<Impl>(store, model)) {}

SequenceBuilder::~SequenceBuilder() = default;

void SequenceBuilder::build(data::Split split, const SequenceUnits& from,
                            std::span<const int64_t> units, const NegativeDraw* draw,
                            SequenceBatch& batch) {
  impl_->add_queries(split, from, units, batch);
  impl_->add_examples(split, batch);
  impl_->add_slot_features(split, batch);
  impl_->add_texts(split, batch);
  impl_->add_graphs(batch);
  batch.target.clear();
  batch.negative.clear();
  batch.log_share.clear();
  if (draw != nullptr) impl_->add_targets(split, *draw, batch);
  const bool whole = draw != nullptr && impl_->model.sequence.loss == NextItemLoss::kSoftmax;
  impl_->to_slab_rows(batch, whole);
}

}  // namespace llmcf::train
