// The stage `reason`: samples training rows into jobs, has a reasoner answer them, scores the
// answers. Kill it anywhere and call it again: it goes on where it was.
//
//   Pool pool(workspace / "cot/pool.sqlite");
//   const auto reasoner = make_reasoner(config);
//   const auto prompt = Prompt::from(config);
//   const auto report = generate({.dataset = dataset, .rows = rows, .prompt = prompt,
//                                 .reasoner = *reasoner, .encoder = encoder}, pool,
//                                GenerateOptions::from(config));
//   write_examples(pool, dataset, rows, encoder, workspace / "cot/examples.safetensors");
//
// Invariants:
//  1. The sample depends on seed, share and each row alone: the same rows are in it when others are
//     added, and a larger share contains a smaller one.
//  2. The budget is what the pool's present version has spent, killed requests included; a request
//     that might exceed it is not sent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "cot/answer_loop.h"
#include "cot/pool.h"
#include "cot/prompt.h"
#include "cot/reasoner.h"
#include "cot/scoring.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "text/encoder.h"

namespace llmcf::cot {

// Section `reason`: kind, prompt, template and endpoint are read by make_reasoner and Prompt::from.
struct GenerateOptions : Effort {
  // What changes results.
  double share = 0.1;         // of the training rows, in (0, 1]
  int64_t seed = 2023;        // of the sample and of the candidates
  int64_t candidates = 3;     // per job; the template's default is 1
  bool tell_decision = true;  // the paper's way
  int64_t max_history = 20;   // items in the prompt, the last ones; 0 = all
  int64_t max_item_chars = 300;
  ScoringOptions scoring;
  bool whole_users = false;  // one reasoning per user, of all of their training history

  const Effort& effort() const { return *this; }
  // `protocol` sets the default of user_prefixes.
  static GenerateOptions from(const Config& reason, const std::string& protocol = "strict");
};

struct GenerateInput {
  const data::Dataset& dataset;
  const data::RowSet& rows;
  const Prompt& prompt;
  const Reasoner& reasoner;
  const text::Encoder& encoder;
};

struct GenerateReport {
  int64_t sample = 0;     // jobs in the sample
  int64_t added = 0;      // of them new in the pool
  int64_t asked = 0;      // jobs that this call worked on
  int64_t answered = 0;   // of them done
  int64_t failed = 0;     // of them failed; the next call asks again
  int64_t remaining = 0;  // still without answers
  int64_t accepted = 0;   // verdicts of this call
  int64_t rejected = 0;
  Spending spent;       // of the present version
  std::string stopped;  // why it ended before all was done; empty if all is done
};

// Throws Error for a configuration, token or address that cannot work, or if the endpoint is dead.
GenerateReport generate(const GenerateInput& input, Pool& pool, const GenerateOptions& options);

// What generate() would do.
// `pool` may be null: nothing is answered yet. Changes nothing.
Estimate estimate(const GenerateInput& input, const Pool* pool, const GenerateOptions& options);

// The rows of the sample, in the order of the training rows.
std::vector<JobRow> sample_rows(const data::Dataset& dataset, const data::RowSet& rows,
                                double share, int64_t seed);

}  // namespace llmcf::cot
