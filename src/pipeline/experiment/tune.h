// A seeded random search with the same budget for every variant, so that no gain comes from a
// worse-tuned baseline: section `tune` of an experiment.
//
//   tune:
//     trials: 8              # per backbone and variant; trial 0 changes nothing
//     user_share: 0.33       # trained and validated on the rows of a share of the users
//     seed: 2023             # of the draws and of training
//     train: {epochs: 4, patience: 1}
//     variants: [none, llmcf]               # default: all
//     inherit: {kd: none, mean: llmcf}      # variants that take another one's values
//     results: ../../bench/results/beauty-tuning.jsonl
//     space:
//       - {key: train.learning_rate, log: [0.001, 0.02]}
//       - {key: model.dropout, choice: [0.0, 0.1, 0.3]}
//       - {key: model.ict.reconstruction_weight, choice: [0, 1], variants: [llmcf]}
//
// Invariants:
//  1. Trial t draws the same values of a key for every variant: what differs is the variant. Draws
//     are stratified (Latin hypercube; McKay, Beckman and Conover, Technometrics 1979): a key's
//     values spread evenly over its range, however few the trials are.
//  2. Trials are chosen by validation AUC; the test split is not looked at.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/experiment/plan.h"
#include "pipeline/experiment/results.h"

namespace llmcf::pipeline::experiment {

struct Axis {
  std::string key = {};
  enum class Kind { kLog, kUniform, kChoice } kind = Kind::kChoice;
  double low = 0, high = 0;                // kLog, kUniform
  std::vector<std::string> choices = {};   // kChoice
  std::vector<std::string> variants = {};  // that have this key
};

struct TuneOptions {
  int64_t trials = 8;
  double user_share = 0.33;
  int64_t seed = 2023;
  Config train = Config::parse("");
  std::vector<std::string> variants = {};
  std::vector<std::pair<std::string, std::string>> inherit = {};  // variant, whose values it takes
  std::filesystem::path results = {};
  std::vector<Axis> space = {};

  // Throws InputError with file and line.
  static TuneOptions from(const Experiment& experiment);
};

// What trial `trial` of a variant changes; empty for trial 0.
std::vector<Adjustment> draw(const TuneOptions& options, const std::string& variant, int64_t trial);

// Every trial, backbone by backbone, variant by variant.
std::vector<Cell> plan_trials(const Experiment& experiment, const TuneOptions& options);

// The best trials as the text of a presets file. A backbone appears with new values only if all its
// variants have had all their trials (budgets are equal or there are none); else as in `before`.
std::string presets_text(const Experiment& experiment, const TuneOptions& options,
                         const ResultStore& store, const Config& before);

}  // namespace llmcf::pipeline::experiment
