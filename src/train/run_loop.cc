#include "train/run_loop.h"

#include <filesystem>
#include <limits>

#include <fmt/format.h>

#include "core/hash.h"
#include "core/log.h"

namespace llmcf::train {

namespace {

constexpr int64_t kStepsPerScalar = 100;
constexpr int64_t kStepsPerNote = 20;

// What decides the course of a run, apart from the thread count. A higher number of epochs only
// makes it longer.
std::string run_fingerprint(const RunTask& task, const TrainOptions& options) {
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

// "valid AUC 0.8123  LogLoss 0.5123", the figures as people write them.
std::string describe(const Figures& figures) {
  std::string text;
  for (const auto& [name, value] : figures.all()) {
    const std::string shown = name == "auc" ? "AUC" : name == "log_loss" ? "LogLoss" : name;
    text += fmt::format("{}{} {:.4f}", text.empty() ? "" : "  ", shown, value);
  }
  return text;
}

}  // namespace

ScopedThreads::ScopedThreads(int count) : before_(nn::runtime_info().threads) {
  nn::set_threads(count);
  denormals_.emplace();  // of the threads just set
}

ScopedThreads::~ScopedThreads() {
  denormals_.reset();
  nn::set_threads(before_);
}

TrainResult RunLoop::finish() {
  fingerprint_ = run_fingerprint(task_, options_);
  state_ = resumed_state();
  log_ = std::make_unique<RunLog>(task_.directory, state_.lines, state_.steps);
  for (const std::string& line : state_.lines)
    result_.epochs.push_back(parse_epoch_line(line));
  log_->write();
  while (!is_done()) {
    run_epoch();
    if (state_.epoch == options_.stop_after_epoch) {
      result_.finished = false;
      return result_;
    }
  }
  const Stopwatch watch;
  load_weights(model(), task_.directory / "best.safetensors");
  result_.best_epoch = state_.best_epoch;
  result_.test = test();
  log_->add_line(final_line(result_, watch.seconds()));
  log_->write();
  return result_;
}

RunState RunLoop::resumed_state() {
  std::filesystem::create_directories(task_.directory);
  if (!options_.resume) return {};
  const auto file = task_.directory / "last.safetensors";
  const std::optional<RunState> state = load_run(model(), fingerprint_, options_.epochs, file);
  if (!state) return {};
  log::info("{}: continuing after epoch {}", task_.name, state->epoch);
  return *state;
}

bool RunLoop::is_done() const {
  const bool patient =
      options_.patience == 0 || state_.epoch - state_.best_epoch < options_.patience;
  return state_.epoch >= options_.epochs || (state_.epoch > 0 && !patient);
}

double RunLoop::best_score() const {
  if (state_.best_epoch == 0) return -std::numeric_limits<double>::infinity();
  return result_.epochs[static_cast<size_t>(state_.best_epoch) - 1].valid.all().front().second;
}

void RunLoop::run_epoch() {
  EpochResult epoch;
  epoch.epoch = state_.epoch + 1;
  epoch.steps = state_.steps;
  EpochTimes times;
  const Stopwatch train_watch;
  const int64_t rows = train_epoch(epoch);
  progress_.reset();
  times.train_seconds = train_watch.seconds();
  times.rows_per_second = static_cast<double>(rows) / times.train_seconds;

  const Stopwatch valid_watch;
  epoch.valid = validate();
  times.valid_seconds = valid_watch.seconds();

  const bool best = epoch.valid.all().front().second > best_score();
  if (best) {
    save_weights(model(), task_.directory / "best.safetensors");
    state_.best_epoch = epoch.epoch;
  }
  result_.epochs.push_back(epoch);
  log_->add_line(epoch_line(epoch, best, times));
  log_->scalar("train/epoch_loss", epoch.steps, epoch.train.total);
  for (const auto& [name, value] : epoch.valid.all())
    log_->scalar("valid/" + name, epoch.steps, value);
  log_->scalar("time/rows_per_second", epoch.steps, times.rows_per_second);
  state_.epoch = epoch.epoch;
  state_.steps = epoch.steps;
  state_.lines = log_->lines();
  save_run(model(), state_, fingerprint_, task_.directory / "last.safetensors");
  log_->write();
  log::info("{}: epoch {}  loss {:.4f}  valid {}{}  {:.0f} rows/s", task_.name, epoch.epoch,
            epoch.train.total, describe(epoch.valid), best ? "  (best)" : "",
            times.rows_per_second);
}

void RunLoop::begin_epoch(int64_t rows, EpochResult& epoch) {
  epoch_rows_ = rows;
  progress_ = std::make_unique<Progress>(
      fmt::format("{} epoch {}/{}", task_.name, epoch.epoch, options_.epochs), rows, "rows");
}

void RunLoop::count_step(const models::StepLosses& losses, int64_t rows, EpochResult& epoch) {
  ++epoch.steps;
  const auto weight = static_cast<double>(rows) / static_cast<double>(epoch_rows_);
  epoch.train.total += weight * losses.total;
  epoch.train.click += weight * losses.click;
  epoch.train.reconstruction += weight * losses.reconstruction;
  epoch.train.distillation += weight * losses.distillation;
  if (epoch.steps % kStepsPerScalar == 0) log_->scalar("train/loss", epoch.steps, losses.total);
  if (epoch.steps % kStepsPerNote == 0) progress_->note(fmt::format("loss {:.4f}", losses.total));
  progress_->advance(rows);
}

}  // namespace llmcf::train
