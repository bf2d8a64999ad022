#include "pipeline/run.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "core/error.h"
#include "pipeline/journey.h"

namespace llmcf::pipeline {

namespace {

struct NamedStage {
  std::string name;
  std::function<void(Journey&)> run;
};

const std::vector<NamedStage>& stages() {
  static const std::vector<NamedStage> list = {
      {"import", [](Journey& journey) { journey.import(); }},
      {"split", [](Journey& journey) { journey.split(); }},
      {"encode", [](Journey& journey) { journey.encode(); }},
      {"reason", [](Journey& journey) { journey.reason(); }},
      {"pool", [](Journey& journey) { journey.pool(); }},
      {"knowledge", [](Journey& journey) { journey.knowledge(); }},
      {"teach", [](Journey& journey) { journey.teach(); }},
      {"retrieve", [](Journey& journey) { journey.retrieve(); }},
      {"train", [](Journey& journey) { journey.train(); }},
      {"report", [](Journey& journey) { journey.report(); }},
  };
  return list;
}

}  // namespace

const std::vector<std::string>& stage_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const NamedStage& stage : stages())
      all.push_back(stage.name);
    return all;
  }();
  return names;
}

void check_force(const std::set<std::string>& force, const std::vector<std::string>& known) {
  for (const std::string& name : force) {
    const std::string stage = name.substr(0, name.find('.'));
    if (std::find(known.begin(), known.end(), stage) == known.end()) {
      throw Error("--force: " + unknown_name("stage", stage, known));
    }
  }
}

RunOutcome run(const RunConfig& config, const RunOptions& options) {
  check_force(options.force, stage_names());
  Journey journey(config, options.force, options.shared ? Access::kShared : Access::kAlone);
  RunOutcome outcome;
  for (const NamedStage& stage : stages()) {
    if (options.dry_run && stage.name == "reason") {
      outcome.estimate = journey.estimate_reasoning();
      break;
    }
    journey.require_current(options.shared && stage.name != "train");
    stage.run(journey);
    if (stage.name == options.until) break;
  }
  outcome.stages = journey.runner().reports();
  if (journey.results()) {
    outcome.table = result_table_text(*journey.results());
    outcome.report = journey.workspace().report();
  }
  return outcome;
}

}  // namespace llmcf::pipeline
