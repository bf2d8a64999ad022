// The RecGen experiment (Sun et al., CIKM 2024, section 3.1 and its table on tuning data): what
// does tuning on recommendation do to a language model, and what keeps its general ability? Arms
// differ in what is tuned on what; each is judged by how its Yes and No rank a fixed sample of rows
// and by its perplexity on general instructions that no arm has seen.
//
//   name: recgen-beauty
//   workspace: work/recgen-beauty       # models and instruction files
//   results: results/recgen-beauty.jsonl
//   base: path/to/model                 # the model before tuning
//   seed: 2023
//   run: {protocol: strict, data: {...}, split: {...}, ...}   # whose rows are asked about
//   recommend: 3000                     # training rows written as instructions
//   judge: {split: test, rows: 5000}
//   general: [alpaca.json]              # instruction files
//   held_out: 0.1                       # the last share of each, for the perplexity
//   tune: {length: 512, tune: {...}}    # as in llmcf llm tune, without model, out and data
//   arms:
//     - {name: untuned}
//     - {name: recommend_only, learns: [recommend]}
//     - {name: lora, learns: [recommend], tune: {tune: {lora: {rank: 8}}}}
//     - {name: wise_0.5, from: recommend_only, alpha: 0.5}      # Wise-FT between base and an arm
//     - {name: recgen, learns: [recommend, general], weights: [1, 1]}
//
// Invariants:
//  1. An arm that has its line in `results` under the same key is neither tuned nor judged again; a
//     killed study goes on where it was.
//  2. All arms are asked about the same rows, and none has learned the general instructions that
//     its perplexity is measured on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "pipeline/report/grid.h"

namespace llmcf::pipeline::experiment {

struct StudyArm {
  std::string name;
  bool finished = false;
  double auc = 0, log_loss = 0, yes_and_no = 0;
  double perplexity = 0;
  int64_t rows = 0, steps = 0;
  double minutes = 0;  // of tuning
};

struct StudyReport {
  std::string name;
  std::vector<StudyArm> arms;  // in the file's order
  std::filesystem::path page;  // HTML, with the table and both plots
};

// Throws InputError or Error. `arms`: only these are made (all if empty); the report holds all.
StudyReport run_recgen_study(const Config& config, const std::vector<std::string>& arms);

// One row per arm; grid.h renders it.
Grid study_grid(const StudyReport& report);

}  // namespace llmcf::pipeline::experiment
