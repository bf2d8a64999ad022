// How fast quality decays when the pool of chains of thought and the models are not refreshed:
// `llmcf drift`.
//
// The models are trained once, on what is older than the first window (drift_windows.h). Each
// window's rows are then scored with the pool as it was before the first window (arm `frozen`) and
// as it was when the window began (arm `refreshed`). A row's history is everything before it, in
// both arms.
//
// Examples are sampled by row (cot/generate.h) and sorted by time, so one pool holds every arm's: a
// row of window w retrieves what is older than the arm's cut, as if the pool had been filled then.
//
//   import -> split -> split.examples -> encode -> reason -> pool -> retrieve ->
//     train.<variant>.<seed>... -> drift.<variant>.<seed>... -> report
//
// Invariants:
//  1. No row is scored with an example of its own window or a later one.
//  2. Killed at any moment and started again, a study ends with the same artefacts.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "pipeline/report/drift_report.h"
#include "pipeline/run_config.h"

namespace llmcf::pipeline {

struct DriftOutcome {
  DriftData data;                // empty after a dry run
  std::filesystem::path report;  // drift.html; drift.{json,md,csv} lie beside it
  std::string estimate;          // dry run only
};

// With `dry_run`: stops before the reasoner is asked and says what that would cost. Throws Error
// for bad input or configuration, naming file, line and the fix.
DriftOutcome drift(const RunConfig& config, const std::set<std::string>& force, bool dry_run);

}  // namespace llmcf::pipeline
