// The loop itself. See trainer.h.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/run_log.h"

namespace llmcf::train {

namespace {

constexpr int64_t kStepsPerScalar = 100;
constexpr int64_t kStepsPerNote = 20;
constexpr size_t kRowsInMessage = 128;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// libtorch's threads, and how they do arithmetic, for the life of a run.
class ScopedThreads {
 public:
  explicit ScopedThreads(int count) : before_(nn::runtime_info().threads) {
    nn::set_threads(count);
    denormals_.emplace();  // of the threads just set
  }
  ~ScopedThreads() {
    denormals_.reset();
    nn::set_threads(before_);
  }
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
  std::optional<nn::DenormalsAreZero> denormals_;
};

models::TrainableCtr make_model(const TrainTask& task, const nn::OptimizerOptions& optimizer,
                                int64_t seed) {
  const models::FrozenTables frozen{.item_text = task.features->inputs().item_text,
                                    .cot = task.example_text};
  return {task.features->spec(), task.model, optimizer, frozen, static_cast<uint64_t>(seed)};
}

// What decides the course of a run, apart from the thread count. A higher number of epochs only
// makes it longer.
std::string run_fingerprint(const TrainTask& task, const TrainOptions& options) {
  const nn::OptimizerOptions& optimizer = options.optimizer;
  Hasher hasher;
  hasher.add_field(task.fingerprint);
  hasher.add_field(fmt::format("{} {} {} {}", options.patience, options.batch_size,
                               options.max_rows, options.seed));
  hasher.add_field(fmt::format("{} {} {} {} {} {}", optimizer.kind, optimizer.learning_rate,
                               optimizer.weight_decay, optimizer.beta1, optimizer.beta2,
                               optimizer.epsilon));
  return hasher.hex();
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

// A run in progress: one public verb, the steps below it.
class Run {
 public:
  Run(const TrainTask& task, const TrainOptions& options)
      : task_(task),
        options_(options),
        store_(*task.features),
        model_(make_model(task, options.optimizer, options.seed)),
        fingerprint_(run_fingerprint(task, options)),
        state_(resumed_state()),
        log_(task.directory, state_.lines, state_.steps) {
    for (const std::string& line : state_.lines)
      result_.epochs.push_back(parse_epoch_line(line));
  }

  TrainResult finish() {
    log_.write();
    while (!is_done()) {
      run_epoch();
      if (state_.epoch == options_.stop_after_epoch) {
        result_.finished = false;
        return result_;
      }
    }
    test();
    return result_;
  }

 private:
  RunState resumed_state() {
    std::filesystem::create_directories(task_.directory);
    if (!options_.resume) return {};
    const auto file = task_.directory / "last.safetensors";
    const std::optional<RunState> state = load_run(model_, fingerprint_, options_.epochs, file);
    if (!state) return {};
    log::info("{}: continuing after epoch {}", task_.name, state->epoch);
    return *state;
  }

  bool is_done() const {
    const bool patient =
        options_.patience == 0 || state_.epoch - state_.best_epoch < options_.patience;
    return state_.epoch >= options_.epochs || (state_.epoch > 0 && !patient);
  }

  double best_auc() const {
    return state_.best_epoch == 0
               ? -1
               : result_.epochs[static_cast<size_t>(state_.best_epoch) - 1].valid_auc;
  }

  void run_epoch() {
    EpochResult epoch{
        .epoch = state_.epoch + 1, .steps = 0, .train = {}, .valid_auc = 0, .valid_log_loss = 0};
    EpochTimes times;
    const Stopwatch train_watch;
    const int64_t rows = train_epoch(epoch);
    times.train_seconds = train_watch.seconds();
    times.rows_per_second = static_cast<double>(rows) / times.train_seconds;

    const Stopwatch valid_watch;
    validate(epoch);
    times.valid_seconds = valid_watch.seconds();

    const bool best = epoch.valid_auc > best_auc();
    if (best) {
      save_weights(model_, task_.directory / "best.safetensors");
      state_.best_epoch = epoch.epoch;
    }
    result_.epochs.push_back(epoch);
    log_.add_line(epoch_line(epoch, best, times));
    log_.scalar("train/epoch_loss", epoch.steps, epoch.train.total);
    log_.scalar("valid/auc", epoch.steps, epoch.valid_auc);
    log_.scalar("valid/log_loss", epoch.steps, epoch.valid_log_loss);
    log_.scalar("time/rows_per_second", epoch.steps, times.rows_per_second);
    state_.epoch = epoch.epoch;
    state_.steps = epoch.steps;
    state_.lines = log_.lines();
    save_run(model_, state_, fingerprint_, task_.directory / "last.safetensors");
    log_.write();
    log::info("{}: epoch {}  loss {:.4f}  valid AUC {:.4f}  LogLoss {:.4f}{}  {:.0f} rows/s",
              task_.name, epoch.epoch, epoch.train.total, epoch.valid_auc, epoch.valid_log_loss,
              best ? "  (best)" : "", times.rows_per_second);
  }

  // Returns the rows trained on.
  int64_t train_epoch(EpochResult& epoch) {
    int64_t rows = store_.rows(data::Split::kTrain).size();
    if (options_.max_rows > 0) rows = std::min(rows, options_.max_rows);
    BatchLoader loader(store_, data::Split::kTrain,
                       epoch_order(rows, static_cast<uint64_t>(options_.seed), epoch.epoch),
                       {.batch_size = options_.batch_size, .depth = options_.prefetch});
    Progress progress(fmt::format("{} epoch {}/{}", task_.name, epoch.epoch, options_.epochs), rows,
                      "rows");
    epoch.steps = state_.steps;
    while (const models::Batch* batch = loader.next()) {
      const models::StepLosses losses = model_.train_step(*batch);
      ++epoch.steps;
      if (!losses.finite()) stop_at_nan(epoch, losses, *batch, loader.batch_rows());
      const auto weight = static_cast<double>(batch->queries) / static_cast<double>(rows);
      epoch.train.total += weight * losses.total;
      epoch.train.click += weight * losses.click;
      epoch.train.reconstruction += weight * losses.reconstruction;
      epoch.train.distillation += weight * losses.distillation;
      if (epoch.steps % kStepsPerScalar == 0) log_.scalar("train/loss", epoch.steps, losses.total);
      if (epoch.steps % kStepsPerNote == 0) progress.note(fmt::format("loss {:.4f}", losses.total));
      progress.advance(batch->queries);
    }
    return rows;
  }

  [[noreturn]] void stop_at_nan(const EpochResult& epoch, const models::StepLosses& losses,
                                const models::Batch& batch, std::span<const int64_t> rows) {
    const std::filesystem::path file = task_.directory / "nan_batch.safetensors";
    SafetensorsWriter writer;
    writer.set_metadata("epoch", std::to_string(epoch.epoch));
    writer.set_metadata("step", std::to_string(epoch.steps));
    writer.add<int64_t>("rows", {static_cast<int64_t>(rows.size())}, rows);
    add_batch(writer, batch);
    writer.write(file);
    throw Error(
        fmt::format("{}: the loss is not finite (click {}, reconstruction {}, distillation {}) in "
                    "epoch {}, step {}; its training "
                    "rows are {}. The batch is in {}. Lower train.learning_rate, or look for bad "
                    "values in the features.",
                    task_.name, losses.click, losses.reconstruction, losses.distillation,
                    epoch.epoch, epoch.steps, row_list(rows), file.string()));
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

  void validate(EpochResult& epoch) {
    const std::vector<float> logits = score(data::Split::kValid);
    epoch.valid_auc = auc_of(data::Split::kValid, logits);
    epoch.valid_log_loss = log_loss(logits, store_.rows(data::Split::kValid).label);
  }

  void test() {
    const Stopwatch watch;
    load_weights(model_, task_.directory / "best.safetensors");
    const std::vector<float> logits = score(data::Split::kTest);
    const data::Rows& rows = store_.rows(data::Split::kTest);
    TestResult& test = result_.test;
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
    result_.best_epoch = state_.best_epoch;

    SafetensorsWriter writer;
    writer.add("logit", logits);
    writer.add<float>("label", {test.rows}, rows.label);
    writer.write(task_.directory / "test_scores.safetensors");
    log_.add_line(final_line(result_, watch.seconds()));
    log_.write();
    log_.scalar("test/auc", state_.steps, test.auc);
    log_.scalar("test/log_loss", state_.steps, test.log_loss);
    log::info("{}: test AUC {:.4f} [{:.4f}, {:.4f}]  LogLoss {:.4f}  (epoch {})", task_.name,
              test.auc, test.auc_interval.low, test.auc_interval.high, test.log_loss,
              state_.best_epoch);
  }

  const TrainTask& task_;
  const TrainOptions& options_;
  const FeatureStore& store_;
  models::TrainableCtr model_;
  std::string fingerprint_;
  RunState state_;
  RunLog log_;
  TrainResult result_;
};

}  // namespace

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
  const bool small = !models::uses_text(model.context) && options.batch_size <= kSmallBatch;
  return small ? 1 : thread_count();
}

TrainResult train(const TrainTask& task, const TrainOptions& options) {
  LLMCF_ASSERT(task.features != nullptr);
  const ScopedThreads threads(training_threads(task.model, options));
  return Run(task, options).finish();
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
