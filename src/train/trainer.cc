#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/run_loop.h"

namespace llmcf::train {

namespace {

constexpr size_t kRowsInMessage = 128;

models::TrainableCtr make_model(const TrainTask& task, const nn::OptimizerOptions& optimizer,
                                int64_t seed) {
  const models::FrozenTables frozen{.item_text = task.features->inputs().item_text,
                                    .cot = task.example_text};
  return {task.features->spec(), task.model, optimizer, frozen, static_cast<uint64_t>(seed)};
}

void add_batch(SafetensorsWriter& writer, const models::Batch& batch) {
  writer.add("labels", batch.labels);
  for (size_t table = 0; table < batch.tables.size(); ++table)
    writer.add(fmt::format("table.{}.rows", table), batch.tables[table].rows);
  for (size_t field = 0; field < batch.fields.size(); ++field) {
    writer.add(fmt::format("field.{}.offsets", field), batch.fields[field].offsets);
    writer.add(fmt::format("field.{}.ids", field), batch.fields[field].ids);
    writer.add(fmt::format("field.{}.weights", field), batch.fields[field].weights);
  }
  writer.add("text_items", batch.text_items);
  writer.add("sample_text", batch.sample_text);
  writer.add("history_text", batch.history_text);
  writer.add("example_ids", batch.example_ids);
  writer.add("example_label", batch.example_label);
  writer.add("slot", batch.slot);
  writer.add("slot_similarity", batch.slot_similarity);
}

// Joins at most kRowsInMessage row numbers.
std::string row_list(std::span<const int64_t> rows) {
  const size_t shown = std::min(rows.size(), kRowsInMessage);
  std::string text = fmt::format("{}", fmt::join(rows.first(shown), ", "));
  if (shown < rows.size()) text += fmt::format(" and {} more", rows.size() - shown);
  return text;
}

// A click model's run.
class ClickLoop final : public RunLoop {
 public:
  ClickLoop(const TrainTask& task, const TrainOptions& options)
      : RunLoop(task, options),
        task_(task),
        options_(options),
        store_(*task.features),
        model_(make_model(task, options.optimizer, options.seed)) {}

 private:
  models::Trainable& model() override { return model_; }

  int64_t train_epoch(EpochResult& epoch) override {
    int64_t rows = store_.rows(data::Split::kTrain).size();
    if (options_.max_rows > 0) rows = std::min(rows, options_.max_rows);
    BatchLoader loader(store_, data::Split::kTrain,
                       epoch_order(rows, static_cast<uint64_t>(options_.seed), epoch.epoch),
                       {.batch_size = options_.batch_size, .depth = options_.prefetch});
    begin_epoch(rows, epoch);
    while (const models::Batch* batch = loader.next()) {
      const models::StepLosses losses = model_.train_step(*batch);
      if (!losses.finite()) stop_at_nan(epoch, losses, *batch, loader.batch_rows());
      count_step(losses, batch->queries, epoch);
    }
    return rows;
  }

  [[noreturn]] void stop_at_nan(const EpochResult& epoch, const models::StepLosses& losses,
                                const models::Batch& batch, std::span<const int64_t> rows) {
    const std::filesystem::path file = task_.directory / "nan_batch.safetensors";
    SafetensorsWriter writer;
    writer.set_metadata("epoch", std::to_string(epoch.epoch));
    writer.set_metadata("step", std::to_string(epoch.steps + 1));
    writer.add<int64_t>("rows", {static_cast<int64_t>(rows.size())}, rows);
    add_batch(writer, batch);
    writer.write(file);
    throw Error(
        fmt::format("{}: the loss is not finite (click {}, reconstruction {}, distillation {}) in "
                    "epoch {}, step {}; its training "
                    "rows are {}. The batch is in {}. Lower train.learning_rate, or look for bad "
                    "values in the features.",
                    task_.name, losses.click, losses.reconstruction, losses.distillation,
                    epoch.epoch, epoch.steps + 1, row_list(rows), file.string()));
  }

  std::vector<float> score(data::Split split) {
    BatchLoader loader(store_, split, {},
                       {.batch_size = options_.eval_batch_size, .depth = options_.prefetch});
    Progress progress(fmt::format("{} {}", task_.name, data::split_name(split)),
                      store_.rows(split).size(), "rows");
    std::vector<float> logits;
    logits.reserve(static_cast<size_t>(store_.rows(split).size()));
    while (const models::Batch* batch = loader.next()) {
      for (const float logit : model_.predict(*batch).logits) {
        if (!std::isfinite(logit)) {
          throw Error(
              fmt::format("{}: the score of {} row {} is {}; the weights have diverged. Lower "
                          "train.learning_rate.",
                          task_.name, data::split_name(split), logits.size(), logit));
        }
        logits.push_back(logit);
      }
      progress.advance(batch->queries);
    }
    return logits;
  }

  double auc_of(data::Split split, const std::vector<float>& logits) const {
    const std::optional<double> value = auc(logits, store_.rows(split).label);
    if (!value) {
      throw Error(
          fmt::format("{}: all {} rows of split '{}' have the same label, so there is no AUC",
                      task_.name, logits.size(), data::split_name(split)));
    }
    return *value;
  }

  Figures validate() override {
    const std::vector<float> logits = score(data::Split::kValid);
    Figures figures;
    figures.add("auc", auc_of(data::Split::kValid, logits));
    figures.add("log_loss", log_loss(logits, store_.rows(data::Split::kValid).label));
    return figures;
  }

  TestResult test() override {
    const std::vector<float> logits = score(data::Split::kTest);
    const data::Rows& rows = store_.rows(data::Split::kTest);
    TestResult test;
    test.rows = rows.size();
    test.auc = auc_of(data::Split::kTest, logits);
    test.log_loss = log_loss(logits, rows.label);
    if (const auto grouped = group_auc(logits, rows.label, rows.user))
      test.group_auc = grouped->value;
    test.auc_interval = bootstrap_auc(logits, rows.label, rows.user,
                                      {.resamples = options_.resamples,
                                       .level = 0.95,
                                       .seed = static_cast<uint64_t>(options_.seed)})
                            .value_or(Interval{.low = test.auc, .high = test.auc});

    SafetensorsWriter writer;
    writer.add("logit", logits);
    writer.add<float>("label", {test.rows}, rows.label);
    writer.write(task_.directory / "test_scores.safetensors");
    log::info("{}: test AUC {:.4f} [{:.4f}, {:.4f}]  LogLoss {:.4f}", task_.name, test.auc,
              test.auc_interval.low, test.auc_interval.high, test.log_loss);
    scalar("test/auc", test.auc);
    scalar("test/log_loss", test.log_loss);
    return test;
  }

  const TrainTask& task_;
  const TrainOptions& options_;
  const FeatureStore& store_;
  models::TrainableCtr model_;
};

}  // namespace

double Figures::at(std::string_view name) const {
  for (const auto& [known, value] : all_)
    if (known == name) return value;
  throw Error(fmt::format("no figure is named '{}'", name));
}

TrainOptions TrainOptions::from(const Config& config) {
  constexpr int64_t kMany = int64_t{1} << 40;
  TrainOptions options;
  options.epochs = config.get_int("epochs", options.epochs, 1, 1'000'000);
  options.patience = config.get_int("patience", options.patience, 0, 1'000'000);
  options.batch_size = config.get_int("batch_size", options.batch_size, 1, 1 << 24);
  options.eval_batch_size = config.get_int("eval_batch_size", options.eval_batch_size, 1, 1 << 24);
  options.max_rows = config.get_int("max_rows", options.max_rows, 0, kMany);
  options.resamples = config.get_int("resamples", options.resamples, 1, 1'000'000);
  options.threads = config.get_int("threads", options.threads, 0, 4096);
  options.prefetch = config.get_int("prefetch", options.prefetch, 0, 64);
  options.optimizer = nn::OptimizerOptions::from(config);
  FeatureOptions::from(config, "strict");  // its keys belong to the section
  config.finish();
  return options;
}

int training_threads(const models::ModelOptions& model, const TrainOptions& options) {
  constexpr int64_t kSmallBatch = 512;
  if (options.threads > 0) return static_cast<int>(options.threads);
  const bool small = !models::is_sequence_backbone(model.backbone) &&
                     !models::uses_text(model.context) && options.batch_size <= kSmallBatch;
  return small ? 1 : thread_count();
}

TrainResult train(const TrainTask& task, const TrainOptions& options) {
  LLMCF_ASSERT(task.features != nullptr);
  const ScopedThreads threads(training_threads(task.model, options));
  return ClickLoop(task, options).finish();
}

std::vector<float> predict(const TrainTask& task, const TrainOptions& options,
                           const std::filesystem::path& checkpoint, data::Split split) {
  LLMCF_ASSERT(task.features != nullptr);
  const ScopedThreads threads(training_threads(task.model, options));
  models::TrainableCtr model = make_model(task, {}, 0);
  load_weights(model, checkpoint);
  BatchLoader loader(*task.features, split, {},
                     {.batch_size = options.eval_batch_size, .depth = options.prefetch});
  std::vector<float> logits;
  while (const models::Batch* batch = loader.next()) {
    const models::Prediction prediction = model.predict(*batch);
    logits.insert(logits.end(), prediction.logits.begin(), prediction.logits.end());
  }
  return logits;
}

}  // namespace llmcf::train
