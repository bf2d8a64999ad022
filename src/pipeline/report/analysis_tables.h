// The tables of a retrieval's analysis, shared by its renderings. Internal to them.
#pragma once

#include <string>
#include <vector>

#include "pipeline/report/analysis.h"
#include "pipeline/report/grid.h"

namespace llmcf::pipeline {

struct CaptionedGrid {
  std::string caption;
  Grid grid;
};

struct TitledTables {
  std::string title;
  std::string meaning;  // of what the rows are cut by; may be empty
  std::vector<CaptionedGrid> tables;
};

// One line that says what was analysed.
std::string analysis_heading(const RetrievalAnalysis& analysis);
// Agreement, similarity, attributes; then two tables per cut.
std::vector<TitledTables> analysis_tables(const RetrievalAnalysis& analysis);
CaptionedGrid frequent_table(const RetrievalAnalysis& analysis);

}  // namespace llmcf::pipeline
