// The main job: from interaction logs to a measured model, as a list of stages.
//
//   import -> split -> encode -> reason -> pool -> knowledge -> teach -> retrieve ->
//   train.<variant>.<seed>... -> report
//
// pool and retrieve are left out when no variant reads examples, knowledge when none is KAR, teach
// when none distils; reason when none of them reads what a reasoner writes.
//
// Invariants:
//  1. Killed at any moment and started again, a run ends with the same artefacts (clocks and
//  measured times apart).
//  2. A stage that is current is skipped; see stage_runner.h.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "pipeline/run_config.h"
#include "pipeline/stage_runner.h"

namespace llmcf::pipeline {

struct RunOptions {
  std::string until = "report";  // the last stage to run
  std::set<std::string> force;   // stages to run though nothing changed
  bool dry_run = false;          // stop before the reason stage and say what it would cost
  // Only trains: the stages before were made by a run that ended, and several processes share the
  // workspace, each with other variants or seeds in its configuration.
  bool shared = false;
};

struct RunOutcome {
  std::filesystem::path report;  // empty if the run stopped before
  std::string table;             // the result table, for a terminal
  std::vector<StageReport> stages;
  std::string estimate;  // dry_run only
};

// Names a run may stop at, in order.
const std::vector<std::string>& stage_names();

// Throws Error unless every name, or what precedes its first '.', is one of `known`.
void check_force(const std::set<std::string>& force, const std::vector<std::string>& known);

// Throws Error for bad input or configuration, naming file, line and the fix.
RunOutcome run(const RunConfig& config, const RunOptions& options);

}  // namespace llmcf::pipeline
