// How good is what was retrieved? Computes the figures of report/analysis.h.
//
// Two controls say what chance alone gives: labels shuffled over the rows (for the AUC, many times,
// which also gives its p-value), and every row looking at the examples of another row, drawn once
// (for labels and attributes).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/report/analysis.h"
#include "pipeline/retrieved.h"
#include "pipeline/slices.h"
#include "retrieval/assign.h"

namespace llmcf::pipeline {

struct AnalysisOptions {
  int64_t permutations = 1000;
  int64_t resamples = 400;  // of the bootstrap over users
  int64_t seed = 2023;
};

// Agreement of row and example in [0, 1]; NaN if either has no value.
struct Attribute {
  std::string name;
  std::function<double(int64_t row, int32_t example)> agreement;
};

// What the figures need: columns of Q rows and N examples.
struct AnalysisColumns {
  const retrieval::Assignment& assignment;
  std::span<const float> labels;       // [Q]
  std::span<const int32_t> users;      // [Q]
  std::span<const float> pool_labels;  // [N]
  std::vector<Attribute> attributes = {};
};

// The figures of all rows and of every non-empty bucket; `analysis.all` and `analysis.cuts`.
void add_figures(const AnalysisColumns& columns, const std::vector<RowProperty>& properties,
                 const AnalysisOptions& options, RetrievalAnalysis& analysis);

// Agreement in item, user and every categorical item field of the data set (shared values over all
// values, where there are several).
std::vector<Attribute> attributes_of(const Retrieved& retrieved);

RetrievalAnalysis analyse(const Retrieved& retrieved, const AnalysisOptions& options);

}  // namespace llmcf::pipeline
