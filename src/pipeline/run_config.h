// The configuration of a run: one YAML file, read strictly.
//
//   name: beauty-deepfm          # shown in the report
//   workspace: ../work/beauty    # relative to the file
//   protocol: strict             # strict | paper; the default of every switch of a protocol
//   seeds: [2023, 2024, 2025]
//   data: {...}                  # data/import.h
//   split: {...}                 # data/rows.h
//   encode: {...}                # text/make_encoder.h
//   reason: {...}                # cot/generate.h, and the reasoner of its `kind`
//   pool: {...}                  # cot/examples.h
//   teach: {...}                 # cot/teacher.h
//   retrieve: {...}              # retrieval/options.h
//   model: {...}                 # models/recommender.h
//   train: {...}                 # train/trainer.h
//   variants:                    # the first one is the baseline
//     - {name: none, model: {context: none}}
//     - {name: llmcf, model: {context: ict}, train: {learning_rate: 0.008}}
//   drift: {...}                 # pipeline/drift_windows.h
//
// Invariant: a variant's model and train sections are the run's, overlaid with its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"

namespace llmcf::pipeline {

struct Variant {
  std::string name;  // also a directory name: letters, digits, '-', '_', '.'
  Config model;
  Config train;
};

struct RunConfig {
  std::string name;
  std::filesystem::path workspace;
  std::string protocol;
  std::vector<int64_t> seeds;
  std::vector<Variant> variants;
  Config data, split, encode, reason, pool, teach, retrieve;
  Config drift;      // read by `llmcf drift` only
  std::string text;  // the whole file as YAML, overrides applied: for people

  // `overrides` are "dotted.path=yaml value". Throws InputError with file and line.
  static RunConfig load(const std::filesystem::path& file,
                        const std::vector<std::string>& overrides);
  // The same from a tree in memory. `default_name` is used where it has none.
  static RunConfig from(const Config& config, const std::string& default_name);
};

// Applies "dotted.path=yaml value" texts. Throws Error for one without '='.
void apply_overrides(Config& config, const std::vector<std::string>& overrides);

// Throws InputError at key `name` unless it can name a directory.
void check_directory_name(const Config& entry, const std::string& name);

}  // namespace llmcf::pipeline
