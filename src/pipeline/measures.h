// What runs of a task are judged by. A task is what backbones are for: clicks on given rows, or the
// next item among all.
//
// Invariant: `metrics` is `names` in people's words plus one last column, the improvement of the
// first figure over the baseline's.
#pragma once

#include <string>
#include <vector>

#include "pipeline/report/report.h"
#include "pipeline/run_config.h"
#include "train/trainer.h"

namespace llmcf::pipeline {

enum class Task { kClicks, kNextItem };

struct Measures {
  std::vector<std::string> names;   // "auc", "log_loss", "gauc"; as in files
  std::vector<MetricInfo> metrics;  // the first one decides
  std::string sliced;               // what parts of the test split are measured by
  std::string score;                // what one test row's score is
};

const Measures& measures_of(Task task);

// By the first variant's backbone. Throws InputError if another variant is for another task.
Task task_of(const std::vector<Variant>& variants);

// The figures of a finished test in the order of `names`; NaN where there is none.
std::vector<double> figures_of(const Measures& measures, const train::TestResult& test);

// Clicks: RelaImpr over chance (the paper's section 4.1.2); next item: relative. NaN where it is
// undefined.
double improvement(Task task, double value, double baseline);

}  // namespace llmcf::pipeline
