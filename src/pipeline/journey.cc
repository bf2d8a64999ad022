#include "pipeline/journey.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "cot/reasoner.h"
#include "pipeline/annotations.h"
#include "pipeline/encoders.h"
#include "pipeline/erasure.h"
#include "pipeline/local_reasoner.h"
#include "pipeline/results.h"
#include "pipeline/stage_key.h"
#include "text/make_encoder.h"
#include "train/sequence_trainer.h"

namespace llmcf::pipeline {

namespace {

// Versions of the artefacts' formats and meaning, by stage.
constexpr int kImportFormat = 1;
constexpr int kSplitFormat = 1;
constexpr int kEncodeFormat = 1;
constexpr int kReasonFormat = 1;
constexpr int kPoolFormat = 1;
constexpr int kRetrieveFormat = 2;
constexpr int kTrainFormat = 2;

// Some rows of a split as queries of the retrieval.
struct QueryColumns {
  QueryColumns(const data::Rows& rows, const std::vector<int64_t>& chosen) {
    for (const int64_t row : chosen) {
      const auto index = static_cast<size_t>(row);
      user.push_back(rows.user[index]);
      item.push_back(rows.item[index]);
      position.push_back(rows.position[index]);
      time.push_back(rows.time[index]);
    }
  }
  retrieval::Queries queries() const {
    return {.user = user, .item = item, .position = position, .time = time};
  }

  std::vector<int32_t> user, item, position;
  std::vector<int64_t> time;
};

}  // namespace

retrieval::Pool pool_of(const cot::ExampleSet& examples) {
  return {.user = examples.user(),
          .item = examples.item(),
          .position = examples.position(),
          .label = examples.label(),
          .time = examples.time()};
}

Journey::Journey(const RunConfig& config, std::set<std::string> force, Access access)
    : config_(config),
      workspace_(config.workspace, access),
      runner_(workspace_, std::move(force)),
      import_options_(data::ImportOptions::from(config.data)),
      split_options_(data::SplitOptions::from(config.split)),
      generate_options_(cot::GenerateOptions::from(config.reason, config.protocol)),
      prompt_(cot::Prompt::from(config.reason)),
      user_prompt_(
          cot::Prompt::from(config.reason, "user_prompt", "user_default", cot::PromptUse::kUser)),
      item_prompt_(
          cot::Prompt::from(config.reason, "item_prompt", "item_default", cot::PromptUse::kItem)),
      teach_prompt_(
          cot::Prompt::from(config.teach, "prompt", "teach_default", cot::PromptUse::kTeach)),
      reasoner_(make_reasoner(config.reason)),
      example_options_(cot::ExampleOptions::from(config.pool)),
      teach_options_(cot::TeachOptions::from(config.teach, reasoner_->judges())),
      retrieval_options_(retrieval::RetrievalOptions::from(config.retrieve, config.protocol)) {
  config.data.finish();
  config.split.finish();
  config.reason.finish();
  config.teach.finish();
  check_encoder(config.encode);
  if (workspace_.has_erased()) {
    import_options_.exclude_user = [this](std::string_view user) {
      return workspace_.is_erased(user);
    };
  }
  task_ = pipeline::task_of(config.variants);
  if (task_ == Task::kNextItem) {
    // The target of a row is what is to be found: only histories can be compared.
    if (config.retrieve.has("history_weight") && retrieval_options_.history_weight != 1)
      config.retrieve.fail("history_weight",
                           "must be 1 for sequence models, whose target is unknown; leave it out");
    retrieval_options_.history_weight = 1;
  }
  for (const Variant& variant : config.variants) {
    ReadVariant read{.name = variant.name,
                     .model = models::ModelOptions::from(variant.model, config.protocol),
                     .train = train::TrainOptions::from(variant.train),
                     .features = train::FeatureOptions::from(variant.train, config.protocol),
                     .key = variant.model.canonical() + variant.train.canonical()};
    uses_knowledge_ = uses_knowledge_ || read.model.context == models::ContextKind::kKar;
    uses_teacher_ = uses_teacher_ || read.model.distillation_weight > 0;
    uses_examples_ = uses_examples_ || models::uses_retrieval(read.model);
    variants_.push_back(std::move(read));
  }
}

Journey::ChosenRun Journey::choose(const std::string& name, int64_t seed) const {
  ChosenRun run{.variant = nullptr, .seed = seed == 0 ? config_.seeds.front() : seed};
  for (const ReadVariant& variant : variants_)
    if (name.empty() || variant.name == name) run.variant = &variant;
  if (run.variant == nullptr) {
    std::vector<std::string> names;
    for (const ReadVariant& variant : variants_)
      names.push_back(variant.name);
    throw Error("--variant: " + unknown_name("variant", name, names));
  }
  if (std::find(config_.seeds.begin(), config_.seeds.end(), run.seed) == config_.seeds.end())
    throw Error(fmt::format("--seed: {} is not among the run's seeds", run.seed));
  return run;
}

void Journey::make_current(const ChosenRun& run) {
  for (const auto stage :
       {&Journey::import, &Journey::split, &Journey::encode, &Journey::reason, &Journey::pool,
        &Journey::knowledge, &Journey::teach, &Journey::retrieve})
    (this->*stage)();
  train_variant(*run.variant, {run.seed});
}

std::filesystem::path Journey::best_weights(const ChosenRun& run) const {
  return workspace_.run(run.variant->name, run.seed) / "best.safetensors";
}

const data::Dataset& Journey::dataset() {
  if (!dataset_) dataset_ = std::make_unique<data::Dataset>(workspace_.dataset());
  return *dataset_;
}

const data::RowSet& Journey::rows() {
  if (!rows_) rows_ = std::make_unique<data::RowSet>(workspace_.rows());
  return *rows_;
}

const cot::ExampleSet& Journey::examples() {
  if (!examples_) examples_ = std::make_unique<cot::ExampleSet>(workspace_.examples());
  return *examples_;
}

std::span<const float> Journey::item_text() {
  if (!item_text_) {
    item_text_ = std::make_unique<SafetensorsReader>(workspace_.item_text());
    text_dim_ = item_text_->tensor("item_text").shape.at(1);
  }
  return item_text_->get<float>("item_text", {dataset().num_items() + 1, text_dim_});
}

void Journey::import() {
  std::string inputs;
  for (const auto& file : data::input_files(import_options_))
    inputs += hash_file(file);
  const std::string key = stage_key("import", kImportFormat,
                                    {config_.data.canonical(), workspace_.erased_digest(), inputs});
  digests_.dataset = runner_.run({.name = "import",
                                  .key = key,
                                  .outputs = {workspace_.dataset()},
                                  .work =
                                      [this] {
                                        erase_annotations(workspace_);
                                        const auto summary = data::import_dataset(
                                            import_options_, workspace_.dataset());
                                        log::info("{}", data::describe(summary));
                                      },
                                  .digest = {}});
}

void Journey::split() {
  const std::string key = stage_key(
      "split", kSplitFormat,
      {digests_.dataset, config_.split.canonical() + data::describe(split_options_.cuts)});
  digests_.rows = runner_.run(
      {.name = "split",
       .key = key,
       .outputs = {workspace_.rows()},
       .work = [this] { data::write_rows(dataset(), split_options_, workspace_.rows()); },
       .digest = {}});
  digests_.example_rows = digests_.rows;
  log::info("rows: {} train, {} valid, {} test", rows().train().size(),
            rows().rows(data::Split::kValid).size(), rows().rows(data::Split::kTest).size());
}

void Journey::encode() {
  const std::string section = config_.encode.canonical();
  const std::string identity = encoder_identity(config_.encode);
  const std::string key =
      identity.empty() ? stage_key("encode", kEncodeFormat, {digests_.dataset, section})
                       : stage_key("encode", kEncodeFormat, {digests_.dataset, section, identity});
  const auto work = [this] {
    std::vector<std::string_view> texts;  // [num_items + 1]; row 0 is empty and becomes zeros
    for (int64_t item = 0; item <= dataset().num_items(); ++item) {
      texts.push_back(item == 0 ? std::string_view() : dataset().item_text(item));
    }
    const auto encoder = make_encoder(config_.encode, std::span(texts).subspan(1));
    text::save_encoder(*encoder, workspace_.encoder());
    std::vector<float> vectors(texts.size() * static_cast<size_t>(encoder->dim()));
    encoder->encode(texts, vectors);
    std::fill_n(vectors.begin(), encoder->dim(), 0.0F);
    SafetensorsWriter writer;
    writer.set_metadata("encoder", encoder->name());
    writer.set_metadata("fingerprint", encoder->fingerprint());
    writer.add<float>("item_text", {static_cast<int64_t>(texts.size()), encoder->dim()}, vectors);
    writer.write(workspace_.item_text());
  };
  digests_.text =
      runner_.run({.name = "encode",
                   .key = key,
                   .outputs = {workspace_.item_text(), workspace_.encoder() / "encoder.json"},
                   .work = work,
                   .digest = {}});
}

void Journey::reason() {
  if (uses_examples_) reason_about_rows();
  if (uses_knowledge_) reason_about_users_and_items();
}

void Journey::reason_about_rows() {
  const std::string key = stage_key("reason", kReasonFormat,
                                    {digests_.dataset, digests_.example_rows, digests_.text,
                                     config_.reason.canonical(), prompt_->hash()});
  bool complete = true;
  const auto work = [this, &complete] {
    const auto encoder = load_encoder(workspace_.encoder());
    cot::Pool pool(workspace_.pool());
    erase_from(pool, workspace_);
    const auto report = cot::generate({.dataset = dataset(),
                                       .rows = example_rows(),
                                       .prompt = *prompt_,
                                       .reasoner = *reasoner_,
                                       .encoder = *encoder},
                                      pool, generate_options_);
    log::info(
        "chains of thought ({}): {} jobs sampled, {} answered now, {} failed, {} remaining; {} "
        "accepted, {} rejected",
        reasoner_->kind(), report.sample, report.answered, report.failed, report.remaining,
        report.accepted, report.rejected);
    complete = report.remaining == 0;
  };
  digests_.pool =
      runner_.run({.name = "reason",
                   .key = key,
                   .outputs = {workspace_.pool()},
                   .work = work,
                   .complete = [&complete] { return complete; },
                   .digest = [this] { return cot::Pool(workspace_.pool()).content_hash(); }});
}

void Journey::pool() {
  if (!uses_examples_) return;
  const std::string key = stage_key("pool", kPoolFormat,
                                    {digests_.dataset, digests_.example_rows, digests_.text,
                                     digests_.pool, config_.pool.canonical()});
  const auto work = [this] {
    const auto encoder = load_encoder(workspace_.encoder());
    const cot::Pool pool(workspace_.pool());
    const int64_t count = cot::write_examples(pool, dataset(), example_rows(), *encoder,
                                              workspace_.examples(), example_options_);
    log::info("examples: {}", count);
  };
  digests_.examples = runner_.run({.name = "pool",
                                   .key = key,
                                   .outputs = {workspace_.examples()},
                                   .work = work,
                                   .complete = {},
                                   .digest = {}});
}

retrieval::ItemVectors Journey::item_vectors() {
  retrieval::Reasons reasons;
  if (uses_examples_ && retrieval_options_.reasons.weight > 0) {
    reasons = {.user = examples().user(),
               .item = examples().item(),
               .label = examples().label(),
               .vectors = examples().vectors()};
  }
  return {retrieval::known_items(rows(), dataset().num_users()),
          {.item_text = item_text(), .width = text_dim_},
          reasons,
          retrieval_options_};
}

void Journey::retrieve_for(const std::string& key,
                           const std::vector<std::filesystem::path>& outputs,
                           const std::function<std::vector<retrieval::Queries>()>& queries) {
  const auto work = [&] {
    const auto assignments =
        retrieval::assign_by_fold(pool_of(examples()), queries(), item_vectors(),
                                  retrieval::histories_of(rows()), retrieval_options_);
    for (size_t part = 0; part < outputs.size(); ++part)
      assignments[part].save(outputs[part]);
  };
  digests_.retrieval = runner_.run({.name = "retrieve",
                                    .key = key,
                                    .outputs = outputs,
                                    .work = work,
                                    .complete = {},
                                    .digest = {}});
}

void Journey::retrieve() {
  if (!uses_examples_) return;
  const std::string key =
      stage_key("retrieve", kRetrieveFormat,
                {digests_.rows, digests_.text, digests_.examples, config_.protocol,
                 config_.retrieve.canonical() + (task_ == Task::kNextItem ? " next item" : "")});
  std::vector<std::filesystem::path> outputs;
  for (const data::Split part : data::kAllSplits)
    outputs.push_back(workspace_.retrieval(data::split_name(part)));
  std::vector<QueryColumns> columns;  // next item: positive rows only
  retrieve_for(key, outputs, [&] {
    std::vector<retrieval::Queries> queries;
    for (const data::Split part : data::kAllSplits) {
      const data::Rows& all = rows().rows(part);
      if (task_ == Task::kClicks) {
        queries.push_back(retrieval::Queries::of(all));
      } else {
        queries.push_back(columns.emplace_back(all, train::positive_rows(all)).queries());
      }
    }
    return queries;
  });
}

std::string Journey::variant_key(const ReadVariant& variant, int64_t seed) const {
  const int threads = train::training_threads(variant.model, variant.train);
  const bool text =
      models::uses_text(variant.model.context) || models::uses_cot(variant.model.context);
  const bool examples = models::uses_retrieval(variant.model);
  // Appended where read: runs of other variants stay current.
  std::string last = examples ? digests_.retrieval : "";
  if (variant.model.context == models::ContextKind::kKar)
    last += " knowledge " + digests_.knowledge;
  if (variant.model.distillation_weight > 0) last += " teacher " + digests_.teacher;
  return stage_key("train", kTrainFormat,
                   {digests_.dataset, digests_.rows, config_.protocol, variant.key,
                    std::to_string(seed), std::to_string(threads), text ? digests_.text : "",
                    examples ? digests_.examples : "", last});
}

void Journey::describe(const ReadVariant& variant, int64_t seed, train::RunTask& task) {
  if (models::uses_examples(variant.model.context)) task.example_text = examples().vectors();
  task.model = variant.model;
  task.directory = workspace_.run(variant.name, seed);
  task.fingerprint = variant_key(variant, seed);
  task.name = fmt::format("{} seed {}", variant.name, seed);
}

train::TrainTask Journey::task_of(const ReadVariant& variant, int64_t seed,
                                  const train::FeatureStore& features) {
  train::TrainTask task;
  describe(variant, seed, task);
  task.features = &features;
  return task;
}

void Journey::train_one(
    const ReadVariant& variant, int64_t seed,
    const std::function<train::TrainResult(const train::TrainOptions&)>& train) {
  const auto directory = workspace_.run(variant.name, seed);
  const auto work = [&] {
    if (variant.model.distillation_weight > 0) teacher().check_teaches();
    train::TrainOptions options = variant.train;
    options.seed = seed;
    const train::TrainResult result = train(options);
    const Measures& measures = measures_of(task_);
    const std::vector<double> figures = figures_of(measures, result.test);
    log::info("{} seed {}: best epoch {} of {}, test {} {:.4f}, {} {:.4f}", variant.name, seed,
              result.best_epoch, result.epochs.size(), measures.metrics[0].name, figures[0],
              measures.metrics[1].name, figures[1]);
  };
  runner_.run({.name = fmt::format("train.{}.{}", variant.name, seed),
               .key = variant_key(variant, seed),
               .outputs = {directory / "metrics.jsonl", directory / "test_scores.safetensors"},
               .work = work,
               .digest = {}});
}

train::FeatureInputs Journey::feature_inputs(std::vector<retrieval::Assignment>& slots) {
  train::FeatureInputs inputs;
  inputs.dataset = &dataset();
  inputs.rows = &rows();
  inputs.example_rows = &example_rows();
  inputs.item_text = item_text();
  inputs.text_dim = text_dim_;
  slots.clear();
  if (uses_examples_) {
    inputs.examples = {.user = examples().user(),
                       .item = examples().item(),
                       .position = examples().position(),
                       .label = examples().label(),
                       .event = {},
                       .time = examples().time()};
    for (const data::Split part : data::kAllSplits) {
      slots.push_back(retrieval::Assignment::load(workspace_.retrieval(data::split_name(part))));
    }
    inputs.k = slots[0].k;
    for (size_t part = 0; part < slots.size(); ++part) {
      inputs.slots[part] = train::SlotColumns::of(slots[part]);
    }
  }
  add_side_tables(inputs);
  return inputs;
}

void Journey::train() {
  for (const ReadVariant& variant : variants_)
    train_variant(variant, config_.seeds);
}

void Journey::train_variant(const ReadVariant& variant, const std::vector<int64_t>& seeds) {
  std::vector<retrieval::Assignment> slots;
  const train::FeatureInputs read = train::inputs_for(variant.model, feature_inputs(slots));
  if (task_ == Task::kNextItem) {
    const train::SequenceStore sequences(read, variant.features);
    for (const int64_t seed : seeds)
      train_one(variant, seed, [&](const train::TrainOptions& options) {
        train::SequenceTask task;
        describe(variant, seed, task);
        task.sequences = &sequences;
        return train::train_sequences(task, options);
      });
  } else {
    const train::FeatureStore features(read, variant.features);
    for (const int64_t seed : seeds)
      train_one(variant, seed, [&](const train::TrainOptions& options) {
        return train::train(task_of(variant, seed, features), options);
      });
  }
}

std::string Journey::reasoner_text() const {
  return reasoner_->is_computed() ? "template (no language model)"
                                  : fmt::format("{}: {}", reasoner_->kind(), reasoner_->model());
}

void Journey::report() {
  ResultInputs inputs{.config = config_,
                      .workspace = workspace_,
                      .dataset = dataset(),
                      .rows = rows(),
                      .examples = uses_examples_ ? &examples() : nullptr,
                      .teacher = uses_teacher_ ? &teacher() : nullptr,
                      .stages = runner_.reports(),
                      .reasoner = uses_examples_ || uses_knowledge_ ? reasoner_text() : ""};
  results_ = collect_results(inputs);
  write_results(*results_, workspace_);
  log::info("report: {}", workspace_.report().string());
}

}  // namespace llmcf::pipeline
