// Two passes per batch: the first writes table rows into the bags and marks them, the second
// replaces them by slab rows.
#include "train/batch_builder.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "train/fill_slots.h"
#include "train/id_set.h"

namespace llmcf::train {

namespace {

// What the fields of one sample are read from.
struct Sample {
  int32_t user = 0;
  int32_t item = 0;
  int32_t position = 0;
  int64_t event = 0;
  std::span<const int32_t> history;
};

size_t entity_of(const Sample& sample, data::Side side) {
  switch (side) {
    case data::Side::kUser:
      return static_cast<size_t>(sample.user);
    case data::Side::kItem:
      return static_cast<size_t>(sample.item);
    case data::Side::kContext:
      return static_cast<size_t>(sample.event);
  }
  return 0;
}

void append_column(const FieldSource& field, size_t entity, std::vector<int32_t>& ids) {
  const auto begin = static_cast<size_t>(field.offsets[entity]);
  const auto end = static_cast<size_t>(field.offsets[entity + 1]);
  for (size_t place = begin; place < end; ++place)
    ids.push_back(field.ids[place]);
}

}  // namespace

struct BatchBuilder::Impl {
  explicit Impl(const FeatureStore& features)
      : store(features),
        texts(features.spec().text_dim > 0 ? features.inputs().dataset->num_items() + 1 : 0),
        examples(features.inputs().examples.size()),
        history_items(features.inputs().histories ? features.inputs().dataset->num_items() + 1
                                                  : 0) {
    for (const models::TableSpec& table : store.spec().tables)
      tables.emplace_back(table.rows);
  }

  void add_queries(data::Split split, std::span<const int64_t> rows, models::Batch& batch);
  void add_examples(data::Split split, std::span<const int64_t> rows, models::Batch& batch);
  void fill_slot_features(data::Split split, std::span<const int64_t> rows,
                          models::Batch& batch) const;
  bool share_a_value(const FieldSource& field, int32_t left, int32_t right) const;
  void fill_bag(const FieldSource& field, std::span<const Sample> of, models::Bag& bag) const;
  void fill_histories(models::Batch& batch);
  void fill_fields(models::Batch& batch);
  void to_slab_rows(models::Batch& batch);
  void fill_texts(models::Batch& batch);
  void fill_side_tables(data::Split split, std::span<const int64_t> rows,
                        models::Batch& batch) const;

  size_t table_of(size_t field) const {
    return static_cast<size_t>(store.fields()[field].spec.table);
  }

  const FeatureStore& store;
  std::vector<IdSet> tables;
  IdSet texts;
  IdSet examples;
  IdSet history_items;
  std::vector<Sample> samples;       // [S]
  std::vector<int32_t> seen_ids;     // [U] distinct items of the queries' histories
  std::vector<Sample> seen_samples;  // [U] the same, as what an item field reads
};

void BatchBuilder::Impl::add_queries(data::Split split, std::span<const int64_t> rows,
                                     models::Batch& batch) {
  const data::Rows& columns = store.rows(split);
  samples.clear();
  batch.labels.clear();
  for (const int64_t row : rows) {
    const auto index = static_cast<size_t>(row);
    LLMCF_ASSERT(row >= 0 && row < columns.size());
    const int32_t user = columns.user[index], position = columns.position[index];
    samples.push_back({.user = user,
                       .item = columns.item[index],
                       .position = position,
                       .event = columns.event[index],
                       .history = store.history(user, position)});
    batch.labels.push_back(columns.label[index]);
  }
  batch.queries = static_cast<int64_t>(rows.size());
}

void BatchBuilder::Impl::add_examples(data::Split split, std::span<const int64_t> rows,
                                      models::Batch& batch) {
  const SlotColumns& slots = store.inputs().slots[static_cast<size_t>(split)];
  fill_slots(slots, store.inputs().k, rows, examples, batch);
  const ExampleColumns& columns = store.inputs().examples;
  batch.example_label.clear();
  for (const int32_t example : batch.example_ids) {
    const auto index = static_cast<size_t>(example);
    const int32_t user = columns.user[index], position = columns.position[index];
    samples.push_back({.user = user,
                       .item = columns.item[index],
                       .position = position,
                       .event = store.example_event(example),
                       .history = store.history(user, position)});
    batch.example_label.push_back(columns.label[index] > 0.5F ? 1 : 0);
  }
  batch.samples = static_cast<int64_t>(samples.size());
}

bool BatchBuilder::Impl::share_a_value(const FieldSource& field, int32_t left,
                                       int32_t right) const {
  const auto values = [&](int32_t item) {
    const auto at = static_cast<size_t>(item);
    const auto begin = static_cast<size_t>(field.offsets[at]);
    return field.ids.subspan(begin, static_cast<size_t>(field.offsets[at + 1]) - begin);
  };
  const auto of_right = values(right);
  return std::ranges::any_of(
      values(left), [&](int32_t id) { return std::ranges::find(of_right, id) != of_right.end(); });
}

// Slot features by models/batch.h, after the slots themselves.
void BatchBuilder::Impl::fill_slot_features(data::Split split, std::span<const int64_t> rows,
                                            models::Batch& batch) const {
  batch.slot_features.clear();
  if (!store.inputs().slot_features) return;
  const auto k = static_cast<size_t>(store.inputs().k);
  const auto features = static_cast<size_t>(models::slot_feature_count(store.spec()));
  const SlotColumns& slots = store.inputs().slots[static_cast<size_t>(split)];
  const ExampleColumns& pool = store.inputs().examples;
  const data::Rows& columns = store.rows(split);
  batch.slot_features.assign(rows.size() * k * features, 0.0F);
  for (size_t query = 0; query < rows.size(); ++query) {
    const auto row = static_cast<size_t>(rows[query]);
    size_t free = k;
    for (size_t slot = k; slot-- > 0;) {
      const size_t from = row * k + slot;
      if (slots.ids[from] < 0) continue;
      --free;
      const auto example = static_cast<size_t>(slots.ids[from]);
      float* out = batch.slot_features.data() + (query * k + free) * features;
      const auto scaled = [&](std::span<const float> values) {
        return values.empty() ? 0.0F : models::slot_similarity(values[from]);
      };
      *out++ = scaled(slots.similarity);
      *out++ = scaled(slots.history_similarity);
      *out++ = scaled(slots.target_similarity);
      *out++ = pool.time.empty() ? 0.0F : models::slot_age(columns.time[row] - pool.time[example]);
      *out++ = pool.item[example] == columns.item[row] ? 1.0F : 0.0F;
      for (const FieldSource& field : store.fields()) {
        if (!models::is_shared_feature(field.spec)) continue;
        const bool shared = field.kind == SourceKind::kColumn &&
                            share_a_value(field, pool.item[example], columns.item[row]);
        *out++ = shared ? 1.0F : 0.0F;
      }
    }
  }
}

// Table rows, not yet slab rows.
void BatchBuilder::Impl::fill_bag(const FieldSource& field, std::span<const Sample> of,
                                  models::Bag& bag) const {
  const bool history = field.spec.role == models::FieldRole::kHistory;
  const bool pads = store.options().paper && field.spec.single;
  bag.offsets.assign(1, 0);
  bag.ids.clear();
  bag.weights.clear();
  for (const Sample& sample : of) {
    const size_t before = bag.ids.size();
    if (field.kind == SourceKind::kUserId) {
      bag.ids.push_back(store.user_row(sample.user));
    } else if (field.kind == SourceKind::kNumber) {
      bag.ids.push_back(1);
      bag.weights.push_back(field.values[entity_of(sample, field.side)]);
    } else if (field.kind == SourceKind::kItemId) {
      if (history) {
        bag.ids.insert(bag.ids.end(), sample.history.begin(), sample.history.end());
      } else {
        bag.ids.push_back(sample.item);
      }
    } else if (history) {
      for (const int32_t item : sample.history)
        append_column(field, static_cast<size_t>(item), bag.ids);
    } else {
      append_column(field, entity_of(sample, field.side), bag.ids);
      if (pads && bag.ids.size() == before) bag.ids.push_back(0);
    }
    bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
  }
}

// The queries' histories item by item; nothing unless the store was asked for them.
void BatchBuilder::Impl::fill_histories(models::Batch& batch) {
  const std::vector<int>& carried = store.spec().sequence_fields;
  if (carried.empty()) return;
  models::HistoryItems& history = batch.history;
  history.offsets.assign(1, 0);
  history.items.clear();
  for (const Sample& query : std::span(samples).first(static_cast<size_t>(batch.queries))) {
    for (const int32_t item : query.history)
      history_items.mark(item);
    history.items.insert(history.items.end(), query.history.begin(), query.history.end());
    history.offsets.push_back(static_cast<int32_t>(history.items.size()));
  }
  history_items.list(seen_ids);
  for (int32_t& item : history.items)
    item = history_items.place(item);
  history.distinct = static_cast<int64_t>(seen_ids.size());
  seen_samples.clear();
  for (const int32_t item : seen_ids)
    seen_samples.push_back({.item = item, .history = {}});
  history.fields.resize(carried.size());
  for (size_t index = 0; index < carried.size(); ++index)
    fill_bag(store.fields()[static_cast<size_t>(carried[index])], seen_samples,
             history.fields[index]);
}

void BatchBuilder::Impl::fill_fields(models::Batch& batch) {
  const std::vector<FieldSource>& fields = store.fields();
  batch.fields.resize(fields.size());
  batch.tables.resize(tables.size());
  for (size_t index = 0; index < fields.size(); ++index)
    fill_bag(fields[index], samples, batch.fields[index]);
  fill_histories(batch);
  to_slab_rows(batch);
}

// Lists the distinct table rows of all bags and turns ids into places in these lists.
void BatchBuilder::Impl::to_slab_rows(models::Batch& batch) {
  const auto for_each_bag = [&](const auto& visit) {
    for (size_t index = 0; index < batch.fields.size(); ++index)
      visit(batch.fields[index], tables[table_of(index)]);
    for (size_t index = 0; index < batch.history.fields.size(); ++index)
      visit(batch.history.fields[index],
            tables[table_of(static_cast<size_t>(store.spec().sequence_fields[index]))]);
  };
  for_each_bag([](const models::Bag& bag, IdSet& table) {
    for (const int32_t row : bag.ids)
      table.mark(row);
  });
  for (size_t index = 0; index < tables.size(); ++index)
    tables[index].list(batch.tables[index].rows);
  for_each_bag([](models::Bag& bag, const IdSet& table) {
    for (int32_t& row : bag.ids)
      row = table.place(row);
  });
}

void BatchBuilder::Impl::fill_texts(models::Batch& batch) {
  const auto width = static_cast<size_t>(store.spec().text_dim);
  if (width == 0) return;
  for (const Sample& sample : samples)
    texts.mark(sample.item);
  texts.list(batch.text_items);
  batch.sample_text.clear();
  batch.history_text.resize(samples.size() * width);
  const auto queries = static_cast<size_t>(batch.queries);
  for (size_t index = 0; index < samples.size(); ++index) {
    const Sample& sample = samples[index];
    batch.sample_text.push_back(texts.place(sample.item));
    const std::span<float> out = std::span(batch.history_text).subspan(index * width, width);
    if (index >= queries) {
      store.example_history_text(batch.example_ids[index - queries], out);
    } else if (index > 0 && samples[index - 1].user == sample.user &&
               samples[index - 1].position == sample.position) {
      std::copy_n(out.data() - width, width, out.data());  // a row and its negative
    } else {
      store.history_text(sample.user, sample.position, out);
    }
  }
}

void BatchBuilder::Impl::fill_side_tables(data::Split split, std::span<const int64_t> rows,
                                          models::Batch& batch) const {
  const FeatureInputs& inputs = store.inputs();
  const std::span<const float> teacher = inputs.teacher_logits[static_cast<size_t>(split)];
  batch.teacher_logits.clear();
  for (size_t index = 0; !teacher.empty() && index < rows.size(); ++index) {
    const float* logits = teacher.data() + rows[index] * 2;
    batch.teacher_logits.insert(batch.teacher_logits.end(), logits, logits + 2);
  }
  const std::span<const float> alignment = inputs.slots[static_cast<size_t>(split)].alignment;
  batch.alignment.clear();
  for (size_t index = 0; !alignment.empty() && index < rows.size(); ++index)
    batch.alignment.push_back(alignment[static_cast<size_t>(rows[index])]);
  batch.kar_user.clear();
  batch.kar_item.clear();
  const int64_t width = inputs.kar_dim;
  for (size_t index = 0; width > 0 && index < rows.size(); ++index) {
    const int32_t user_row =
        inputs.kar_user_row[static_cast<size_t>(split)][static_cast<size_t>(rows[index])];
    const float* user = inputs.kar_user.data() + user_row * width;
    const float* item = inputs.kar_item.data() + samples[index].item * width;
    batch.kar_user.insert(batch.kar_user.end(), user, user + width);
    batch.kar_item.insert(batch.kar_item.end(), item, item + width);
  }
}

BatchBuilder::BatchBuilder(const FeatureStore& store) : impl_(std::make_unique<Impl>(store)) {}

BatchBuilder::~BatchBuilder() = default;

void BatchBuilder::build(data::Split split, std::span<const int64_t> rows, models::Batch& batch) {
  impl_->add_queries(split, rows, batch);
  impl_->add_examples(split, rows, batch);
  impl_->fill_slot_features(split, rows, batch);
  impl_->fill_fields(batch);
  impl_->fill_texts(batch);
  impl_->fill_side_tables(split, rows, batch);
}

}  // namespace llmcf::train
