// What an experiment found: tables and one page, from its plan and the finished runs alone.
//
// Invariants:
//  1. A cell without a result is a dash, a mean over fewer seeds than planned says how many.
//  2. Comparisons are paired by seed: two-sided t-test over the seeds that both have.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pipeline/experiment/plan.h"
#include "pipeline/experiment/results.h"
#include "pipeline/report/grid.h"
#include "pipeline/report/report.h"
#include "train/metrics.h"

namespace llmcf::pipeline::experiment {

// All seeds of one place in the experiment.
struct Entry {
  Coordinates at = {};                     // seed unused
  std::vector<int64_t> planned = {};       // seeds
  std::vector<MetricResult> figures = {};  // by Measures::names, per planned seed; NaN = no result
};

struct ExperimentReport {
  std::string title = {};
  Task task = Task::kClicks;
  std::string protocol = {};
  std::string baseline = {}, control = {};  // variants; control may be empty
  std::vector<std::string> backbones = {}, variants = {};
  std::vector<Entry> matrix = {}, pools = {};
  std::vector<Sweep> sweeps = {};
  std::vector<Entry> sweep_entries = {};
  int64_t finished = 0, planned = 0;  // runs
  std::vector<KeyValue> facts = {};
  std::string configuration = {};
};

// Variant `text` is the control where there is one.
ExperimentReport summarise(const Experiment& experiment, const std::vector<Cell>& cells,
                           const ResultStore& store);

// First minus second over the seeds that both have, with the paired test; nullopt with fewer than
// two.
std::optional<train::Comparison> compare(const MetricResult& first, const MetricResult& second);

// Variants in rows, backbones in columns, the first figure; against the baseline: ▲ better, ▼
// worse, both significant at .05.
Grid overview_grid(const ExperimentReport& report);
// One line per backbone and variant: all figures, improvement, tests.
Grid detail_grid(const ExperimentReport& report);
// One line per pool, backbone and variant.
Grid pool_grid(const ExperimentReport& report);
// Points in rows, one column per backbone and variant.
Grid sweep_grid(const ExperimentReport& report, const Sweep& sweep);

std::string experiment_text(const ExperimentReport& report);
std::string experiment_markdown(const ExperimentReport& report);
std::string experiment_latex(const ExperimentReport& report);
// Long form for programs: one line per place and seed, full precision.
std::string experiment_csv(const ExperimentReport& report);
std::string experiment_html(const ExperimentReport& report);

// experiment.{html,md,csv,tex} in the directory, each atomically.
void write_experiment(const ExperimentReport& report, const std::filesystem::path& directory);

}  // namespace llmcf::pipeline::experiment
