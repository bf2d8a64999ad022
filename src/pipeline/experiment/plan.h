// An experiment: which models are trained on what, as one YAML file, and the plan made from it, a
// flat list of cells. A cell is one training run.
//
//   name: beauty-ranking
//   workspace: ../../work/experiments/beauty-ranking    # relative to the file, as every path
//   results: ../../bench/results/beauty-ranking.jsonl   # one line per finished run
//   presets: ../presets/beauty.yaml                     # tuned values; may be absent
//   seeds: [2023, 2024, 2025]
//   run: {protocol: strict, data: {...}, split: {...}, ...}   # any run file, without variants
//   backbones: [deepfm, din]
//   baseline: none                                      # default: the first variant
//   variants:                                           # overlaid on `run`
//     - {name: none, model: {context: none}}
//     - {name: llmcf, model: {context: ict}}
//   pools:                                              # other reasoners or prompts, compared
//     - {name: my-model, run: {reason: {...}}, variants: [llmcf], backbones: [deepfm]}
//   sweeps:
//     - {name: k, title: Examples per row, key: retrieve.k, values: [2, 4, 8],
//        variants: [llmcf], backbones: [deepfm]}
//   jobs: {processes: 0, threads: 1, memory_mib: 3000}
//   tune: {...}                                         # experiment/tune.h
//
// Invariants:
//  1. A cell's key is a function of what decides its result (sections, seed), not of where files
//     lie nor of threads: a finished run is recognised on another machine.
//  2. Every cell's configuration was read strictly before the plan is returned.
//  3. Cells that share rows, texts and examples share a group, which is one workspace.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "pipeline/run_config.h"

namespace llmcf::pipeline::experiment {

// A name and what it overlays on the run.
struct Overlay {
  std::string name;
  Config config;
};

struct PoolArm {
  std::string name;
  Config config;
  std::vector<std::string> variants, backbones;
};

struct Sweep {
  std::string name = {};                 // "k"
  std::string title = {};                // "Examples per row"
  std::string key = {};                  // "retrieve.k"
  std::vector<std::string> values = {};  // YAML texts; "as is" changes nothing
  std::vector<std::string> labels = {};  // shown instead of the values
  std::vector<std::string> variants = {}, backbones = {};
  std::vector<int64_t> seeds = {};
};

struct JobOptions {
  int64_t processes = 0;      // at once; 0 = one per core, fewer where memory is short
  int64_t threads = 1;        // of each
  int64_t memory_mib = 3000;  // a process that wants more is stopped with an error; at least 1024:
                              // the numeric libraries take some at start and wait for ever without
};

struct Experiment {
  std::filesystem::path file = {};
  std::vector<std::string> overrides = {};
  std::string name = {};
  std::filesystem::path workspace = {}, results = {},
                        presets = {};  // presets may be empty or not exist
  Config run = Config::parse("");
  std::vector<int64_t> seeds = {};
  std::vector<std::string> backbones = {};
  std::string baseline = {};
  std::vector<Overlay> variants = {};
  std::vector<PoolArm> pools = {};
  std::vector<Sweep> sweeps = {};
  JobOptions jobs = {};
  Config tune = Config::parse("");

  // `overrides` are "dotted.path=yaml value". Throws InputError with file, line and the fix.
  static Experiment load(const std::filesystem::path& file,
                         const std::vector<std::string>& overrides);
  std::vector<std::string> variant_names() const;
  // Throws Error naming the known ones.
  const Overlay& variant(const std::string& wanted) const;
};

// Where a run stands in the experiment.
struct Coordinates {
  std::string backbone = {}, variant = {};
  std::string pool = {};               // "" = the run's own
  std::string sweep = {}, point = {};  // "" = not part of a sweep
  int64_t seed = 0;

  // "deepfm llmcf, k = 8, seed 2023"
  std::string label() const;
  bool operator==(const Coordinates&) const = default;
};

struct Cell {
  Coordinates at;
  std::string key;
  std::string group;             // directory of its workspace
  RunConfig config;              // one variant, one seed; workspace set
  bool reads_reasoning = false;  // examples, reasoning vectors or teacher scores
};

// What is overlaid on a cell last.
struct Adjustment {
  std::string path;  // "train.learning_rate"
  std::string yaml;
};

// One run of the experiment. `presets` may be an empty Config.
Cell make_cell(const Experiment& experiment, const Config& presets, const Coordinates& at,
               const std::vector<Adjustment>& adjustments);
// The tuned values of the presets file; empty where there is none.
Config load_presets(const Experiment& experiment);

// Every run, in the order in which they are trained: the matrix of backbones and variants, backbone
// by backbone and seed by seed; then pools and sweeps. A run that several of them ask for appears
// once per place, with the same key.
std::vector<Cell> plan(const Experiment& experiment);
// Sets `group` and the workspace of every cell.
void assign_groups(const Experiment& experiment, std::vector<Cell>& cells);

}  // namespace llmcf::pipeline::experiment
