// From artefacts to ReportData: what the runs measured, cut, compared and illustrated.
//
// Invariants:
//  1. Everything comes from files of the workspace: no figure is computed in the training process
//  only.
//  2. The baseline is the first variant; comparisons are paired by seed.
#pragma once

#include <string>
#include <vector>

#include "cot/examples.h"
#include "cot/teacher.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "pipeline/report/report.h"
#include "pipeline/run_config.h"
#include "pipeline/stage_runner.h"
#include "pipeline/workspace.h"

namespace llmcf::pipeline {

struct ResultInputs {
  const RunConfig& config;
  const Workspace& workspace;
  const data::Dataset& dataset;
  const data::RowSet& rows;
  const cot::ExampleSet* examples = nullptr;  // null if no variant reads examples
  const cot::TeacherSet* teacher = nullptr;   // null if no variant distils
  std::vector<StageReport> stages;
  std::string reasoner;
};

// Throws Error if a run of the configuration has not finished.
ReportData collect_results(const ResultInputs& inputs);

// report.html and results.{json,md,csv}, each atomically.
void write_results(const ReportData& data, const Workspace& workspace);

}  // namespace llmcf::pipeline
