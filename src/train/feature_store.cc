// See feature_store.h.
#include "train/feature_store.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/kernels.h"

namespace llmcf::train {

namespace {

// Above this the history texts of examples are computed when they are needed.
constexpr size_t kExampleTextFloats = size_t{1} << 28;  // 1 GiB

void check_size(const char* what, size_t found, int64_t expected) {
  if (found != static_cast<size_t>(expected)) {
    throw Error(fmt::format(
        "feature store: {} has {} values, expected {}; was it made for another data set?", what,
        found, expected));
  }
}

// Also accepts an absent (empty) input.
void check_optional(const char* what, size_t found, int64_t expected) {
  if (found != 0) check_size(what, found, expected);
}

void check_range(const char* what, std::span<const int32_t> values, int64_t low, int64_t high) {
  for (const int32_t value : values) {
    if (value < low || value > high)
      throw Error(fmt::format(
          "feature store: {} holds {}, expected {} to {}; was it made for another data set?", what,
          value, low, high));
  }
}

void check_examples(const ExampleColumns& examples, const data::Dataset& dataset) {
  const int64_t count = examples.size();
  check_size("examples.item", examples.item.size(), count);
  check_size("examples.position", examples.position.size(), count);
  check_size("examples.label", examples.label.size(), count);
  check_optional("examples.event", examples.event.size(), count);
  check_optional("examples.time", examples.time.size(), count);
  check_range("examples.user", examples.user, 1, dataset.num_users());
  check_range("examples.item", examples.item, 1, dataset.num_items());
  for (int64_t example = 0; example < count; ++example) {
    const auto index = static_cast<size_t>(example);
    const auto user = static_cast<size_t>(examples.user[index]);
    const int64_t events = dataset.user_offsets()[user + 1] - dataset.user_offsets()[user];
    check_range("examples.position", examples.position.subspan(index, 1), 0, events);
  }
}

}  // namespace

FeatureOptions FeatureOptions::from(const Config& config, const std::string& protocol) {
  FeatureOptions options;
  options.paper = protocol == "paper";
  options.history_length = config.get_int("history_length", options.history_length, 1, 1'000'000);
  return options;
}

FeatureInputs inputs_for(const models::ModelOptions& model, FeatureInputs inputs) {
  // Chains of thought have the width of the texts, which a model that reads only them needs, too.
  if (!models::uses_text(model.context) && !models::uses_cot(model.context)) {
    inputs.item_text = {};
    inputs.text_dim = 0;
  }
  if (!models::uses_examples(model.context)) {
    inputs.examples = {};
    inputs.k = 0;
    for (SlotColumns& slots : inputs.slots)
      slots = {.ids = {}, .similarity = {}, .alignment = slots.alignment};
  }
  if (!model.alignment) {
    for (SlotColumns& slots : inputs.slots)
      slots.alignment = {};
  }
  if (model.context != models::ContextKind::kKar) {
    inputs.kar_user = {};
    inputs.kar_user_row = {};
    inputs.kar_item = {};
    inputs.kar_dim = 0;
  }
  if (model.distillation_weight == 0) inputs.teacher_logits = {};
  inputs.histories = models::reads_histories(model);
  inputs.slot_features = models::reads_slot_features(model);
  return inputs;
}

FeatureStore::FeatureStore(const FeatureInputs& inputs, const FeatureOptions& options)
    : inputs_(inputs), options_(options) {
  check_inputs();
  const data::Dataset& dataset = *inputs_.dataset;
  add_id_field("user_id", SourceKind::kUserId, dataset.num_users());
  add_feature_fields(data::Side::kUser, models::FieldRole::kUser);
  add_id_field("item_id", SourceKind::kItemId, dataset.num_items());
  add_feature_fields(data::Side::kItem, models::FieldRole::kItem);
  add_feature_fields(data::Side::kContext, models::FieldRole::kContext);
  add_history_fields();
  spec_.text_dim = inputs_.text_dim;
  spec_.kar_dim = inputs_.kar_dim;

  const auto unknown_user = static_cast<int32_t>(dataset.num_users() + 1);
  user_row_.resize(static_cast<size_t>(dataset.num_users()) + 1);
  for (int32_t user = 1; user < unknown_user; ++user) {
    const bool known = options_.paper || inputs_.rows->user_in_train(user);
    user_row_[static_cast<size_t>(user)] = known ? user : unknown_user;
  }
  precompute_example_texts();
}

void FeatureStore::check_inputs() const {
  LLMCF_ASSERT(inputs_.dataset != nullptr && inputs_.rows != nullptr);
  const data::Dataset& dataset = *inputs_.dataset;
  check_size("item_text", inputs_.item_text.size(),
             (inputs_.text_dim > 0 ? dataset.num_items() + 1 : 0) * inputs_.text_dim);
  const int64_t kar_rows =
      inputs_.kar_dim > 0 ? static_cast<int64_t>(inputs_.kar_user.size()) / inputs_.kar_dim : 0;
  check_size("kar_user", inputs_.kar_user.size(), kar_rows * inputs_.kar_dim);
  check_optional("kar_item", inputs_.kar_item.size(), (dataset.num_items() + 1) * inputs_.kar_dim);
  check_examples(inputs_.examples, dataset);
  for (const data::Split split : {data::Split::kTrain, data::Split::kValid, data::Split::kTest}) {
    const auto index = static_cast<size_t>(split);
    const int64_t count = rows(split).size();
    const SlotColumns& slots = inputs_.slots[index];
    check_size("slots.ids", slots.ids.size(), inputs_.k > 0 ? count * inputs_.k : 0);
    check_optional("slots.similarity", slots.similarity.size(), count * inputs_.k);
    check_optional("slots.history_similarity", slots.history_similarity.size(), count * inputs_.k);
    check_optional("slots.target_similarity", slots.target_similarity.size(), count * inputs_.k);
    check_optional("slots.alignment", slots.alignment.size(), count);
    check_range("slots.ids", slots.ids, -1, inputs_.examples.size() - 1);
    const auto user_row = inputs_.kar_user_row[index];
    check_size("kar_user_row", user_row.size(), inputs_.kar_dim > 0 ? count : 0);
    check_range("kar_user_row", user_row, 0, static_cast<int32_t>(kar_rows) - 1);
    check_optional("teacher_logits", inputs_.teacher_logits[index].size(), count * 2);
  }
}

int FeatureStore::add_table(const std::string& name, int64_t vocabulary) {
  spec_.tables.push_back({.name = name, .rows = vocabulary + (options_.paper ? 0 : 1)});
  return static_cast<int>(spec_.tables.size()) - 1;
}

void FeatureStore::add_id_field(const std::string& name, SourceKind kind, int64_t ids) {
  const bool user = kind == SourceKind::kUserId;
  const models::FieldSpec spec{.name = name,
                               .table = add_table(name, ids + 1),
                               .role = user ? models::FieldRole::kUser : models::FieldRole::kItem,
                               .single = true};
  fields_.push_back({.spec = spec,
                     .kind = kind,
                     .side = user ? data::Side::kUser : data::Side::kItem,
                     .offsets = {},
                     .ids = {},
                     .values = {}});
  spec_.fields.push_back(spec);
}

void FeatureStore::add_feature_fields(data::Side side, models::FieldRole role) {
  for (const data::FieldColumn& column : inputs_.dataset->fields()) {
    if (column.field.side != side || column.field.kind == data::Kind::kText) continue;
    const bool number = column.field.kind == data::Kind::kNumeric;
    if (side == data::Side::kContext) find_example_events();
    const models::FieldSpec spec{
        .name = column.field.name,
        .table = add_table(column.field.name, number ? 2 : column.vocabulary_size()),
        .role = role,
        .single = column.field.kind != data::Kind::kMultiCategorical};
    fields_.push_back({.spec = spec,
                       .kind = number ? SourceKind::kNumber : SourceKind::kColumn,
                       .side = side,
                       .offsets = column.offsets,
                       .ids = column.ids,
                       .values = column.values});
    spec_.fields.push_back(spec);
  }
}

void FeatureStore::find_example_events() {
  ExampleColumns& examples = inputs_.examples;
  if (examples.size() == 0 || !examples.event.empty()) return;
  const data::RowSet* source = inputs_.example_rows;
  const data::Rows& rows = (source == nullptr ? inputs_.rows : source)->train();
  // (user, position, item) of a training row.
  const auto key_of_row = [&](int64_t row) {
    const auto index = static_cast<size_t>(row);
    return std::tuple(rows.user[index], rows.position[index], rows.item[index]);
  };
  std::vector<int64_t> sorted(static_cast<size_t>(rows.size()));
  std::iota(sorted.begin(), sorted.end(), int64_t{0});
  std::sort(sorted.begin(), sorted.end(),
            [&](int64_t a, int64_t b) { return key_of_row(a) < key_of_row(b); });
  for (size_t index = 0; index < examples.user.size(); ++index) {
    const std::tuple key(examples.user[index], examples.position[index], examples.item[index]);
    const auto found =
        std::lower_bound(sorted.begin(), sorted.end(), key,
                         [&](int64_t row, const auto& wanted) { return key_of_row(row) < wanted; });
    if (found == sorted.end() || key_of_row(*found) != key) {
      throw Error(fmt::format(
          "feature store: example {} is no training row, so its context features are unknown; were "
          "the examples made for another split?",
          index));
    }
    example_event_.push_back(rows.event[static_cast<size_t>(*found)]);
  }
  examples.event = example_event_;
}

void FeatureStore::add_history_fields() {
  const size_t count = fields_.size();
  for (size_t index = 0; index < count; ++index) {
    FieldSource source = fields_[index];
    if (source.side != data::Side::kItem || source.kind == SourceKind::kNumber) continue;
    const data::FieldColumn* column = inputs_.dataset->find_field(source.spec.name);
    if (source.kind == SourceKind::kColumn && column != nullptr && !column->field.history) continue;
    if (inputs_.histories) spec_.sequence_fields.push_back(static_cast<int>(index));
    source.spec.name = "hist_" + source.spec.name;
    source.spec.role = models::FieldRole::kHistory;
    source.spec.single = false;
    spec_.fields.push_back(source.spec);
    fields_.push_back(std::move(source));
  }
}

std::span<const int32_t> FeatureStore::history(int32_t user, int32_t position) const {
  const std::span<const int32_t> all = inputs_.rows->history(user, position);
  return all.last(std::min(all.size(), static_cast<size_t>(options_.history_length)));
}

void FeatureStore::history_text(int32_t user, int32_t position, std::span<float> out) const {
  const int64_t width = inputs_.text_dim;
  std::fill(out.begin(), out.end(), 0.0F);
  const std::span<const int32_t> items = history(user, position);
  if (items.empty()) return;
  for (const int32_t item : items)
    retrieval::kernels::add_to(out.data(), inputs_.item_text.data() + item * width, width);
  retrieval::kernels::scale_to(out.data(), out.data(), 1.0F / static_cast<float>(items.size()),
                               width);
}

void FeatureStore::precompute_example_texts() {
  const ExampleColumns& examples = inputs_.examples;
  const auto width = static_cast<size_t>(inputs_.text_dim);
  const size_t floats = static_cast<size_t>(examples.size()) * width;
  if (floats > kExampleTextFloats) return;
  example_history_text_.resize(floats);
  parallel_for(width == 0 ? 0 : examples.size(), 1024, [&](int64_t begin, int64_t end) {
    for (auto example = static_cast<size_t>(begin); example < static_cast<size_t>(end); ++example) {
      history_text(examples.user[example], examples.position[example],
                   std::span(example_history_text_).subspan(example * width, width));
    }
  });
}

void FeatureStore::example_history_text(int32_t example, std::span<float> out) const {
  const auto index = static_cast<size_t>(example);
  if (example_history_text_.empty()) {
    history_text(inputs_.examples.user[index], inputs_.examples.position[index], out);
    return;
  }
  const float* from = example_history_text_.data() + index * static_cast<size_t>(inputs_.text_dim);
  std::copy_n(from, inputs_.text_dim, out.data());
}

}  // namespace llmcf::train
