// Trains the cells that have no result yet: prepares the workspace of each group, then runs one
// process per cell, a few at a time.
//
// Invariants:
//  1. Kill it at any moment and start it again: finished runs are in the store, a run that was cut
//     goes on after its last finished epoch.
//  2. A cell that fails is reported and does not stop the others.
//  3. The checkpoints of a finished run are removed, its metrics and test scores stay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/experiment/plan.h"
#include "pipeline/experiment/results.h"

namespace llmcf::pipeline::experiment {

struct RunnerOptions {
  std::string command;      // what a child process is called with: "experiment", "tune"
  double minutes = 0;       // start nothing after so long; 0 = no limit
  bool hides_test = false;  // results carry no test figures: for a search
};

struct RunnerReport {
  int64_t present = 0;              // cells that had a result before
  int64_t trained = 0;              // now
  int64_t left = 0;                 // not started: out of time
  std::vector<std::string> failed;  // "deepfm llmcf, seed 2023: why"
};

RunnerReport train_missing(const Experiment& experiment, const std::vector<Cell>& cells,
                           ResultStore& store, const RunnerOptions& options);

// In the child: trains the cell with this key, whose workspace is prepared. Throws Error if there
// is none.
void train_cell(const std::vector<Cell>& cells, const std::string& key);

// Fills a workspace that does not exist yet with what another one holds already: files by hard link
// where the file system can, the pool as a copy if both have the same reasoner. Stages decide by
// their keys what of it is current. Exposed for tests.
void seed_workspace(const std::filesystem::path& from, const std::filesystem::path& to,
                    bool same_reasoner);

}  // namespace llmcf::pipeline::experiment
