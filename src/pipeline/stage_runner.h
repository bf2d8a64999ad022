// Runs a pipeline as a list of named stages and owns what every stage needs: skipping, timing,
// memory, logging, resuming.
//
// Invariants:
//  1. A stage is skipped if its key (hash of its inputs' digests, its configuration and its format
//  version) is the
//     recorded one and its outputs are the recorded bytes; otherwise it runs.
//  2. The record is written last and atomically: a stage that was killed has none, and runs again.
//  3. A stage's digest is the hash of its outputs' content, so an input that changed back skips
//  what follows.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/workspace.h"

namespace llmcf::pipeline {

struct Stage {
  std::string name;  // "import", "train.llmcf.2023", ...
  std::string key;
  std::vector<std::filesystem::path> outputs;  // files; they exist when work() has returned
  std::function<void()> work;
  // Asked after work(): false = more is to be done (some answers are missing): the next run
  // continues. Empty = always complete.
  std::function<bool()> complete = {};
  // Digest for outputs whose bytes are not a function of their content (a database); empty = hash
  // the files.
  std::function<std::string()> digest;
};

struct StageReport {
  std::string name;
  bool skipped = false;
  double seconds = 0;          // of the run that made the outputs, also when skipped now
  double peak_memory_mib = 0;  // of the process after it
};

class StageRunner {
 public:
  // `force`: stages (by name, or the part before the first '.') that run even if nothing changed.
  StageRunner(const Workspace& workspace, std::set<std::string> force);

  // From now on a stage that is not current is an error: somebody else makes it.
  void require_current(bool on) { require_current_ = on; }

  // Runs or skips the stage; returns its digest.
  std::string run(const Stage& stage);

  // Whether the stage would be skipped, without running it.
  bool is_current(const Stage& stage) const;

  const std::vector<StageReport>& reports() const { return reports_; }

 private:
  const Workspace& workspace_;
  std::set<std::string> force_;
  bool require_current_ = false;
  std::vector<StageReport> reports_;
};

// Peak resident memory of this process, in MiB.
double peak_memory_mib();

}  // namespace llmcf::pipeline
