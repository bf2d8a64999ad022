// A language model as the recommender: questions written from rows, and how well its Yes and No
// rank them. `llmcf llm data`, `llmcf llm eval`.
//
// Invariants:
//  1. A question is the teach prompt (section `teach`, key prompt) about a row's history and
//  target;
//     it never holds the decision.
//  2. Which rows are asked about depends on the split, the seed and the number alone; both kinds of
//     labels are sampled together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "llm/engine.h"
#include "pipeline/run_config.h"

namespace llmcf::pipeline {

struct JudgedRows {
  std::string split = "train";  // train, valid or test
  int64_t rows = 0;             // 0 = all of the split
  int64_t seed = 2023;
};

// Writes Alpaca JSON: system, instruction (the question), input "", output Yes or No. Stages up to
// split run first. Returns the number of entries.
int64_t write_instructions(const RunConfig& config, const JudgedRows& what,
                           const std::filesystem::path& out);

struct JudgeReport {
  int64_t rows = 0, too_long = 0;  // rows judged; left out because their question does not fit
  double auc = 0;
  double log_loss = 0;    // of P(Yes) / (P(Yes) + P(No))
  double yes_and_no = 0;  // mean of P(Yes) + P(No): how far the model answers the question at all
  double double_softmax_log_loss = 0;  // of the published softmax over these two probabilities
};

// P(Yes) and P(No) are those of the whole words as answers, whatever their number of tokens. Throws
// Error if no row can be asked about or all have one label.
JudgeReport judge_rows(const RunConfig& config, const JudgedRows& what, llm::Engine& engine);

}  // namespace llmcf::pipeline
