// The training loop: epochs over the training split, early stopping on validation AUC, the best
// weights judged once on the test split. No libtorch in here; the model is composed inside from its
// configuration.
//
// Files in TrainTask::directory:
//   metrics.jsonl             one line per epoch and a final one; clocks are under "time"
//   events.out.tfevents.*     the same as TensorBoard scalars
//   last.safetensors          what a resumed run needs: weights, optimiser, epoch, metrics so far
//   best.safetensors          the weights of the best epoch
//   test_scores.safetensors   `logit` and `label` of every test row, in the split's order
//
// Invariants:
//  1. The same task, options and thread count give the same bytes (metrics.jsonl without "time",
//     best.safetensors, test_scores.safetensors), also when the run was killed and continued.
//  2. last.safetensors is written after every epoch and replaced atomically.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config.h"
#include "data/rows.h"
#include "models/options.h"
#include "models/trainable_ctr.h"
#include "nn/optimizer_options.h"
#include "train/feature_store.h"
#include "train/metrics.h"

namespace llmcf::train {

struct TrainOptions {
  // What changes results.
  int64_t epochs = 30;
  int64_t patience = 2;  // stop after this many epochs without a better validation AUC; 0 = never
  int64_t batch_size = 128;
  int64_t max_rows = 0;     // train on the first rows only (debugging); 0 = all
  int64_t resamples = 400;  // of the bootstrap interval of the test AUC
  int64_t seed = 2023;      // not a key of the section: an experiment runs several
  nn::OptimizerOptions optimizer;
  // What changes speed only (threads: the last bits, too).
  int64_t eval_batch_size = 512;
  int64_t threads = 0;   // 0 = training_threads()
  int64_t prefetch = 3;  // batches built ahead by a thread; 0 = none
  // Continue from last.safetensors if it has the same fingerprint. Not a key.
  bool resume = true;
  int64_t stop_after_epoch =
      0;  // return as if killed after this epoch (tests); 0 = never. Not a key.

  // Reads every key of a run file's `train` section, also those of nn::OptimizerOptions and
  // FeatureOptions, and calls finish() on it. Throws InputError.
  static TrainOptions from(const Config& config);
};

// What is trained, and where the results go.
struct RunTask {
  std::span<const float>
      example_text;  // frozen CoT vectors [N, text_dim]; empty where the model reads none
  models::ModelOptions model;
  std::filesystem::path directory;
  std::string name = "train";  // shown by the progress bar
  // Changes when the data or the model's options do: a checkpoint of another fingerprint is not
  // continued.
  std::string fingerprint;
};

struct TrainTask : RunTask {
  const FeatureStore* features = nullptr;
};

// Measures by name, in order; the first one decides which epoch is best (more is better).
class Figures {
 public:
  void add(std::string name, double value) { all_.emplace_back(std::move(name), value); }
  // Throws Error if there is none of that name.
  double at(std::string_view name) const;
  const std::vector<std::pair<std::string, double>>& all() const { return all_; }

 private:
  std::vector<std::pair<std::string, double>> all_;
};

struct EpochResult {
  int64_t epoch = 0;         // from 1
  int64_t steps = 0;         // since the start of the run
  models::StepLosses train;  // means over the epoch's rows
  Figures valid;             // click models: auc, log_loss
};

struct TestResult {
  // Click models.
  double auc = 0;
  double log_loss = 0;
  std::optional<double> group_auc;  // by user; empty if no user has both labels
  Interval auc_interval;            // 95 %, users resampled
  int64_t rows = 0;
  Figures figures;  // sequence models: train/all_items.h
};

struct TrainResult {
  std::vector<EpochResult> epochs;
  int64_t best_epoch = 0;
  TestResult test;
  bool finished = true;  // false after stop_after_epoch
};

// Threads that suit a model: options.threads unless 0, else one where a step is too small to share
// (a click model without texts in small batches: 65,000 rows/s with one thread, 50,000 to 80,000
// with two), else llmcf::thread_count().
int training_threads(const models::ModelOptions& model, const TrainOptions& options);

// Trains, or continues; of a run that is finished only the test is done again. Throws Error naming
// epoch, step and rows if a loss is not finite (the batch goes to nan_batch.safetensors), or if
// validation or test rows have one label only.
TrainResult train(const TrainTask& task, const TrainOptions& options);

// Logits of every row of a split under the weights of `checkpoint` (best.safetensors), in the
// split's order. With the options of train() the test split's are those of test_scores.safetensors,
// to the last bit.
std::vector<float> predict(const TrainTask& task, const TrainOptions& options,
                           const std::filesystem::path& checkpoint, data::Split split);

}  // namespace llmcf::train
