#include "pipeline/publish.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "pipeline/journey.h"
#include "pipeline/publish_user_texts.h"
#include "pipeline/version.h"
#include "serve/retrieval_profile.h"
#include "serve/scorer/backbone.h"
#include "serve/scorer/prepare.h"
#include "serve/scorer/sequence_backbone.h"
#include "serve/search_index.h"
#include "train/run_log.h"
#include "train/sequence_store.h"

namespace llmcf::pipeline {

namespace {

// Of no use without training.
bool is_served(const std::string& weight) {
  return !weight.starts_with("context.ict.reconstruction") &&
         !weight.ends_with(".num_batches_tracked");
}

std::string now_text() {
  return fmt::format(
      "{:%Y-%m-%dT%H:%M:%SZ}",
      fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

serve::ValueKind kind_of(train::SourceKind kind) {
  switch (kind) {
    case train::SourceKind::kUserId:
      return serve::ValueKind::kUserId;
    case train::SourceKind::kItemId:
      return serve::ValueKind::kItemId;
    case train::SourceKind::kColumn:
      return serve::ValueKind::kColumn;
    case train::SourceKind::kNumber:
      return serve::ValueKind::kNumber;
  }
  throw Error("publish: unknown kind of field");
}

class PublishJourney final : public Journey {
 public:
  PublishJourney(const RunConfig& config, const PublishOptions& options)
      : Journey(config, {}, Access::kAlone),
        options_(options),
        run_(choose(options.variant, options.seed)),
        model_(run_.variant->model) {
    check_served();
  }

  Published publish() {
    make_current(run_);
    std::vector<retrieval::Assignment> slots;
    train::FeatureInputs inputs = train::inputs_for(model_, feature_inputs(slots));
    inputs.teacher_logits = {};
    if (task_ == Task::kClicks) {
      clicks_ = std::make_unique<train::FeatureStore>(inputs, run_.variant->features);
      features_ = clicks_.get();
    } else {
      sequences_ = std::make_unique<train::SequenceStore>(inputs, run_.variant->features);
      features_ = &sequences_->base();
    }
    describe();
    SafetensorsWriter writer;
    add_names(writer);
    add_histories(writer);
    add_fields(writer);
    const SafetensorsReader weights(best_weights(run_));
    for (const auto& [name, view] : weights.tensors())
      if (is_served(name)) writer.add("weights." + name, view.dtype, view.shape, view.data);
    if (spec_.context.reads_text())
      writer.add<float>("item_text", {spec_.items + 1, text_dim_}, item_text());
    add_examples(writer);
    if (spec_.examples > 0) add_reference(writer);
    if (model_.context == models::ContextKind::kKar) add_user_texts(writer);
    if (!spec_.encoder.empty()) add_encoder(writer);
    if (spec_.context.uses_retrieval()) add_retrieval(writer);
    serve::describe_bundle(writer, spec_);
    return finish(writer);
  }

 private:
  void check_served() const {
    const std::string place = fmt::format("variant '{}' cannot be published: ", run_.variant->name);
    const auto& served =
        task_ == Task::kClicks ? serve::served_backbones() : serve::served_sequence_backbones();
    if (std::find(served.begin(), served.end(), model_.backbone) == served.end())
      throw Error(place + unknown_name("backbone that can be served", model_.backbone, served));
  }

  void describe() {
    spec_.name = config_.name;
    spec_.variant = run_.variant->name;
    spec_.seed = run_.seed;
    spec_.created = now_text();
    spec_.made_by = kVersion;
    spec_.data_version = digests_.dataset;
    spec_.paper = run_.variant->features.paper;
    const auto figures =
        figures_of(measures_of(task_),
                   train::read_run(workspace().run(run_.variant->name, run_.seed)).result.test);
    for (size_t i = 0; i < figures.size(); ++i)
      if (std::isfinite(figures[i]))
        spec_.metrics.emplace_back(measures_of(task_).names[i], figures[i]);
    spec_.backbone = model_.backbone;
    spec_.backbone_options = model_.backbone_options.yaml();
    spec_.embed_dim = model_.embed_dim;
    spec_.context = {.kind = std::string(models::context_name(model_.context)),
                     .heads = model_.ict_heads,
                     .merged = model_.ict_merged,
                     .residual = model_.ict_residual,
                     .evidence = models::reads_slot_features(model_),
                     .alignment = model_.alignment,
                     .gated = model_.gated};
    if (task_ == Task::kClicks)
      describe_fields();
    else
      describe_sequence();
    spec_.history_length = run_.variant->features.history_length;
    spec_.text_dim = features_->inputs().text_dim;
    spec_.users = dataset().num_users();
    spec_.items = dataset().num_items();
    spec_.retrieval = retrieval_options_;
    spec_.collaborative = retrieval_options_.collaborative.weight;
    for (const int64_t time : dataset().event_time())
      spec_.log_end = std::max(spec_.log_end, time);
    spec_.examples = models::uses_examples(model_.context) ? examples().size() : 0;
    if (spec_.examples > 0) {
      spec_.reasoners = examples().reasoners();
      spec_.newest_example = examples().time().back();
    }
    item_text();
    // For items that are added while serving; a sequence model has no place for them.
    if (task_ == Task::kClicks) spec_.encoder = item_text_->metadata("fingerprint");
  }

  void describe_fields() {
    const models::FeatureSpec& features = features_->spec();
    spec_.tables = features.tables;
    spec_.sequence_fields = features.sequence_fields;
    for (const train::FieldSource& field : features_->fields())
      spec_.fields.push_back({.spec = field.spec,
                              .kind = kind_of(field.kind),
                              .item_field = item_field_of(field.spec),
                              .pads = spec_.paper && field.spec.single &&
                                      field.spec.role != models::FieldRole::kHistory});
  }

  // What a sample's token is made of (models/sequence_recommender.cc), then the columns of items
  // that requests may filter by.
  void describe_sequence() {
    using models::FieldRole;
    const models::SequenceOptions& options = model_.sequence;
    spec_.sequence = {.user_ids = options.user_ids,
                      .concat_fusion = options.concat_fusion,
                      .context_weight = options.context_weight};
    const models::SequenceData& data = sequences_->data();
    spec_.tables = {{.name = "item_id", .rows = data.item_rows}};
    const auto add = [this](const char* name, int64_t table, FieldRole role, serve::ValueKind kind,
                            int item_field) {
      spec_.fields.push_back({.spec = {.name = name,
                                       .table = static_cast<int>(table),
                                       .role = role,
                                       .single = role != FieldRole::kHistory},
                              .kind = kind,
                              .item_field = item_field});
    };
    const SafetensorsReader weights(best_weights(run_));
    if (weights.contains("tables.user_id")) {
      spec_.tables.push_back({.name = "user_id", .rows = data.user_rows});
      add("user_id", models::kUserTable, FieldRole::kUser, serve::ValueKind::kUserId, -1);
    }
    const auto item = static_cast<int>(spec_.fields.size()) + 1;
    add("history", models::kItemTable, FieldRole::kHistory, serve::ValueKind::kItemId, item);
    add("item_id", models::kItemTable, FieldRole::kItem, serve::ValueKind::kItemId, -1);
    for (const train::FieldSource& field : features_->fields())
      if (is_served_column(field))
        add(field.spec.name.c_str(), -1, FieldRole::kItem, serve::ValueKind::kColumn, -1);
  }

  // Of a sequence model's features only columns of items are of use: for filters.
  bool is_served_column(const train::FieldSource& field) const {
    return task_ == Task::kClicks || (field.spec.role == models::FieldRole::kItem &&
                                      field.kind == train::SourceKind::kColumn);
  }

  // The item field that a history field pools.
  int item_field_of(const models::FieldSpec& field) const {
    if (field.role != models::FieldRole::kHistory) return -1;
    const auto& fields = features_->spec().fields;
    for (size_t f = 0; f < fields.size(); ++f)
      if (fields[f].table == field.table && fields[f].role == models::FieldRole::kItem)
        return static_cast<int>(f);
    throw Error(fmt::format("publish: history field '{}' has no item field", field.name));
  }

  void add_names(SafetensorsWriter& writer) {
    for (int64_t user = 0; user <= spec_.users; ++user)
      users_.push_back(user == 0 ? std::string_view() : dataset().user_name(user));
    for (int64_t item = 0; item <= spec_.items; ++item) {
      items_.push_back(item == 0 ? std::string_view() : dataset().item_name(item));
      titles_.push_back(item == 0 ? std::string_view() : dataset().item_title(item));
    }
    users_.finish();
    items_.finish();
    users_.add_to(writer, "user_names");
    items_.add_to(writer, "item_names");
    titles_.add_to(writer, "item_titles");
    for (int32_t user = 0; user <= spec_.users; ++user)
      user_row_.push_back(features_->user_row(user));
    if (!spec_.paper) user_row_[0] = static_cast<int32_t>(spec_.users + 1);  // nobody known
    writer.add<int32_t>("user_row", user_row_);
  }

  void add_histories(SafetensorsWriter& writer) {
    history_offsets_ = {0, 0};
    for (int32_t user = 1; user <= spec_.users; ++user) {
      const auto items = rows().history(user, rows().history_length(user));
      history_items_.insert(history_items_.end(), items.begin(), items.end());
      history_offsets_.push_back(static_cast<int64_t>(history_items_.size()));
    }
    writer.add<int64_t>("history_offsets", history_offsets_);
    writer.add<int32_t>("history_items", history_items_);
  }

  void add_fields(SafetensorsWriter& writer) {
    for (const train::FieldSource& field : features_->fields()) {
      if (field.spec.role == models::FieldRole::kHistory || !is_served_column(field)) continue;
      const std::string name = "field." + field.spec.name;
      if (field.kind == train::SourceKind::kColumn) {
        serve::NamesBuilder& names = vocabularies_.emplace_back();
        const StringColumn& vocabulary = dataset().find_field(field.spec.name)->vocabulary;
        for (int64_t id = 0; id < vocabulary.size(); ++id)
          names.push_back(vocabulary[id]);
        names.finish();
        names.add_to(writer, name + ".vocabulary");
      }
      if (field.side == data::Side::kContext) {
        if (spec_.examples > 0) add_example_context(writer, field);
      } else if (field.kind == train::SourceKind::kColumn) {
        add_span(writer, name + ".offsets", field.offsets);
        add_span(writer, name + ".ids", field.ids);
      } else if (field.kind == train::SourceKind::kNumber) {
        add_span(writer, name + ".values", field.values);
      }
    }
  }

  template <typename T>
  static void add_span(SafetensorsWriter& writer, const std::string& name,
                       std::span<const T> values) {
    writer.add<T>(name, {static_cast<int64_t>(values.size())}, values);
  }

  // The context features of examples: read once, for their tokens.
  void add_example_context(SafetensorsWriter& writer, const train::FieldSource& field) {
    const std::string name = "examples.context." + field.spec.name;
    auto& offsets = context_offsets_.emplace_back(1, 0);
    auto& ids = context_ids_.emplace_back();
    auto& values = context_values_.emplace_back();
    for (int32_t example = 0; example < spec_.examples; ++example) {
      const auto event = static_cast<size_t>(features_->example_event(example));
      if (field.kind == train::SourceKind::kNumber) {
        values.push_back(field.values[event]);
        continue;
      }
      const auto begin = static_cast<size_t>(field.offsets[event]);
      const auto end = static_cast<size_t>(field.offsets[event + 1]);
      ids.insert(ids.end(), field.ids.begin() + static_cast<int64_t>(begin),
                 field.ids.begin() + static_cast<int64_t>(end));
      offsets.push_back(static_cast<int64_t>(ids.size()));
    }
    if (field.kind == train::SourceKind::kNumber) {
      writer.add<float>(name + ".values", values);
    } else {
      writer.add<int64_t>(name + ".offsets", offsets);
      writer.add<int32_t>(name + ".ids", ids);
    }
  }

  void add_examples(SafetensorsWriter& writer) {
    if (spec_.examples == 0) return;
    add_span(writer, "examples.user", examples().user());
    add_span(writer, "examples.item", examples().item());
    add_span(writer, "examples.position", examples().position());
    add_span(writer, "examples.time", examples().time());
    for (int64_t id = 0; id < spec_.examples; ++id) {
      example_labels_.push_back(examples().label()[static_cast<size_t>(id)] > 0.5F ? 1 : 0);
      example_texts_.push_back(examples().text(id));
    }
    writer.add<int32_t>("examples.label", example_labels_);
    example_texts_.add_to(writer, "examples.text");
    if (spec_.context.reads_cot())
      writer.add<float>("examples.cot", {spec_.examples, examples().width()}, examples().vectors());
  }

  // What retrieval found for the test rows: what a service compares its requests with.
  void add_reference(SafetensorsWriter& writer) {
    const auto found = retrieval::Assignment::load(workspace().retrieval("test"));
    serve::RetrievalProfile profile;
    for (int64_t row = 0; row < found.rows; ++row)
      profile.add(found.ids_of(row), found.similarity_of(row));
    profile.add_to(writer, reference_);
  }

  void add_user_texts(SafetensorsWriter& writer) {
    const cot::UserPrefixes prefixes(dataset(), rows(), generate_options_.whole_users);
    user_texts_ = newest_user_texts(knowledge_set(), rows(), prefixes, spec_.users);
    const int64_t width = knowledge_set().width();
    writer.add<float>("kar.user", {spec_.users + 1, width},
                      std::span<const float>(user_texts_.vectors));
    writer.add<int32_t>("kar.user_length", user_texts_.length);
    writer.add<float>("kar.item", {spec_.items + 1, width}, knowledge_set().item_vectors());
  }

  void add_encoder(SafetensorsWriter& writer) {
    for (const auto& entry : std::filesystem::directory_iterator(workspace().encoder())) {
      if (!entry.is_regular_file()) continue;
      const std::string& content = encoder_files_.emplace_back(read_file(entry.path()));
      writer.add("encoder/" + entry.path().filename().string(), Dtype::kU8,
                 {static_cast<int64_t>(content.size())}, content.data());
    }
  }

  void add_retrieval(SafetensorsWriter& writer) {
    vectors_ = std::make_unique<retrieval::ItemVectors>(item_vectors());
    serve::SearchSource source;
    if (spec_.examples > 0) source.pool = pool_of(examples());
    for (int64_t fold = 0; fold < vectors_->folds(); ++fold)
      source.vectors.push_back(vectors_->of_fold(fold));
    for (int32_t user = 0; user <= spec_.users; ++user)
      source.user_fold.push_back(static_cast<int32_t>(vectors_->fold_of(user)));
    source.histories = retrieval::histories_of(rows());
    source.options = retrieval_options_;
    // Lists by item are of no use where no target is known: similarity is that of histories alone.
    source.neighbours = task_ == Task::kClicks ? options_.neighbours : 1;
    source.scan = options_.scan ? *options_.scan : serve::ScanOptions::suited_to(spec_.examples);
    spec_.scan = source.scan;
    index_ = std::make_unique<serve::SearchIndex>(source);
    index_->add_to(writer);
    spec_.folds = vectors_->folds();
    spec_.retrieval_width = source.vectors.front().width;
    spec_.neighbours = index_->neighbours();
  }

  // Once without what serving precomputes, then with it.
  Published finish(const SafetensorsWriter& raw) {
    const TemporaryDirectory directory;
    const auto file = directory.path() / "raw.bundle";
    raw.write(file);
    const serve::Precomputed precomputed(std::make_shared<const serve::Bundle>(file));
    SafetensorsWriter writer;
    precomputed.add_to(writer);
    writer.write(options_.out);
    const serve::Bundle bundle(options_.out);
    return {.bytes = std::filesystem::file_size(options_.out),
            .version = bundle.version(),
            .users = spec_.users,
            .items = spec_.items,
            .examples = spec_.examples};
  }

  const PublishOptions& options_;
  ChosenRun run_;
  const models::ModelOptions& model_;
  serve::BundleSpec spec_;
  std::unique_ptr<train::FeatureStore> clicks_;  // one of the two
  std::unique_ptr<train::SequenceStore> sequences_;
  const train::FeatureStore* features_ = nullptr;  // its
  // Alive until the bundle is written.
  serve::NamesBuilder users_, items_;
  StringColumnBuilder titles_, example_texts_;
  std::vector<int32_t> user_row_, history_items_, example_labels_;
  std::vector<int64_t> history_offsets_;
  std::deque<serve::NamesBuilder> vocabularies_;
  std::deque<std::vector<int64_t>> context_offsets_;
  std::deque<std::vector<int32_t>> context_ids_;
  std::deque<std::vector<float>> context_values_;
  std::deque<std::string> encoder_files_;
  std::vector<int64_t> reference_;
  UserTexts user_texts_;
  std::unique_ptr<retrieval::ItemVectors> vectors_;
  std::unique_ptr<serve::SearchIndex> index_;
};

}  // namespace

Published publish(const RunConfig& config, const PublishOptions& options) {
  return PublishJourney(config, options).publish();
}

}  // namespace llmcf::pipeline
