// Checkpoints of a training run: last.safetensors (all a resumed run needs) and best.safetensors
// (weights).
//
// Invariants:
//  1. Files are replaced atomically and carry a checksum per tensor.
//  2. Same state, same bytes (last.safetensors: but for the clocks in its log lines).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/trainable.h"

namespace llmcf::train {

// Where a run stands, beside the model's and the optimiser's own state. The order of rows and
// dropout depend on seed, epoch and step alone, so there is no random state to keep.
struct RunState {
  int64_t epoch = 0;  // finished
  int64_t steps = 0;
  int64_t best_epoch = 0;
  std::vector<std::string> lines;  // of metrics.jsonl
};

// Weights only.
void save_weights(models::Trainable& model, const std::filesystem::path& path);
void load_weights(models::Trainable& model, const std::filesystem::path& path);

void save_run(models::Trainable& model, const RunState& state, const std::string& fingerprint,
              const std::filesystem::path& path);
// Loads weights, optimiser and state if the file exists, has this fingerprint and is not beyond
// `most_epochs`; otherwise nothing is touched. Throws InputError if the file is damaged.
std::optional<RunState> load_run(models::Trainable& model, const std::string& fingerprint,
                                 int64_t most_epochs, const std::filesystem::path& path);

}  // namespace llmcf::train
