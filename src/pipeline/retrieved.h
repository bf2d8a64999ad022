// What the retrieve stage left for one split, opened together: for commands that look at it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cot/examples.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "pipeline/workspace.h"
#include "retrieval/assign.h"

namespace llmcf::pipeline {

// "train", "valid" or "test"; throws Error naming the nearest.
data::Split split_of(std::string_view name);

struct Retrieved {
  // Throws Error naming the stage to run if something is missing or does not belong together.
  Retrieved(const Workspace& workspace, data::Split split);

  const data::Rows& queries() const { return rows.rows(split); }

  data::Split split;
  data::Dataset dataset;
  data::RowSet rows;
  cot::ExampleSet examples;
  retrieval::Assignment assignment;
};

}  // namespace llmcf::pipeline
