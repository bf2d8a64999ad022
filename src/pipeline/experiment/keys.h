// What decides the result of a run, as text that is the same on every machine.
//
// Invariants:
//  1. Where files lie, what answers may cost and how fast they are asked for is not in it.
//  2. The content of a prompt's file is. The content of the data is not (it is not known before the
//     import): a result carries the digest of its data set beside its key.
#pragma once

#include <string>

#include "pipeline/run_config.h"

namespace llmcf::pipeline::experiment {

// Sections that decide which rows and texts there are.
std::string rows_key(const RunConfig& config);
// Section `reason`: what decides a reasoner's answers.
std::string reasoner_key(const RunConfig& config);
// Sections that decide which examples, texts and verdicts of a reasoner a row is shown.
std::string examples_key(const RunConfig& config);

}  // namespace llmcf::pipeline::experiment
