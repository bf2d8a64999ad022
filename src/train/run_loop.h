// What every training run does, whatever the model: epochs with early stopping, checkpoints from
// which a killed run continues, the log, one judgement of the best weights. The invariants of
// trainer.h hold here. No libtorch.
//
// A task derives from it and says how to train an epoch, what to measure on validation rows and how
// to test.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/progress.h"
#include "models/trainable.h"
#include "nn/runtime.h"
#include "train/checkpoint.h"
#include "train/run_log.h"
#include "train/trainer.h"

namespace llmcf::train {

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
  explicit ScopedThreads(int count);
  ~ScopedThreads();
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
  std::optional<nn::DenormalsAreZero> denormals_;
};

class RunLoop {
 public:
  RunLoop(const RunTask& task, const TrainOptions& options) : task_(task), options_(options) {}
  virtual ~RunLoop() = default;
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  TrainResult finish();

 protected:
  virtual models::Trainable& model() = 0;
  // Trains; calls begin_epoch() once and count_step() after each step. Returns the rows seen.
  virtual int64_t train_epoch(EpochResult& epoch) = 0;
  virtual Figures validate() = 0;
  // Judges the weights as they are (the best ones) on the test split and writes what is kept.
  virtual TestResult test() = 0;

  void begin_epoch(int64_t rows, EpochResult& epoch);
  // Means over the epoch's rows; `rows` of them were in this step.
  void count_step(const models::StepLosses& losses, int64_t rows, EpochResult& epoch);
  void scalar(const std::string& tag, double value) { log_->scalar(tag, state_.steps, value); }

 private:
  RunState resumed_state();
  bool is_done() const;
  double best_score() const;
  void run_epoch();

  const RunTask& task_;
  const TrainOptions& options_;
  std::string fingerprint_;
  RunState state_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<Progress> progress_;
  int64_t epoch_rows_ = 0;
  TrainResult result_;
};

}  // namespace llmcf::train
