// What a training run tells: lines of metrics.jsonl and TensorBoard scalars.
//
// Invariants:
//  1. metrics.jsonl is always whole: it is replaced after every epoch, from lines that the
//  checkpoint holds as well.
//  2. All that depends on the clock is below the key "time" of a line; it comes last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/event_file.h"
#include "train/trainer.h"

namespace llmcf::train {

// Clocks of one epoch.
struct EpochTimes {
  double train_seconds = 0;
  double valid_seconds = 0;
  double rows_per_second = 0;  // training
};

// One line without its end. REQUIRES: finite numbers.
std::string epoch_line(const EpochResult& epoch, bool best, const EpochTimes& times);
std::string final_line(const TrainResult& result, double test_seconds);
// The EpochResult an epoch_line() was made from.
EpochResult parse_epoch_line(const std::string& line);

// A run as its metrics.jsonl tells it.
struct RunHistory {
  TrainResult result;                   // `finished` is false where there is no final line
  std::vector<double> rows_per_second;  // training, by epoch
};
// Throws Error if the directory holds no metrics.jsonl.
RunHistory read_run(const std::filesystem::path& directory);

class RunLog {
 public:
  // Continues a directory whose checkpoint holds `lines` and `steps` updates; steps 0 begins anew.
  RunLog(std::filesystem::path directory, std::vector<std::string> lines, int64_t steps);

  const std::vector<std::string>& lines() const { return lines_; }
  void add_line(std::string line) { lines_.push_back(std::move(line)); }
  // Replaces metrics.jsonl.
  void write() const;
  void scalar(const std::string& tag, int64_t step, double value);

 private:
  std::filesystem::path directory_;
  std::vector<std::string> lines_;
  EventFile events_;
};

}  // namespace llmcf::train
