// `llmcf publish`: from a finished run to the one file that `llmcf serve` opens (serve/bundle.h).
//
// Invariants:
//  1. The file is whole or absent, whatever happens.
//  2. What cannot be served exactly is refused by name; nothing is approximated silently: where
//     examples are searched in cells (`scan`), the bundle says so.
//  3. The same run gives the same bytes, but for the time of publication.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "pipeline/run_config.h"
#include "serve/history_scan.h"

namespace llmcf::pipeline {

struct PublishOptions {
  std::string variant;                     // empty = the last one
  int64_t seed = 0;                        // 0 = the first of the run
  std::filesystem::path out;               // the bundle
  int64_t neighbours = 256;                // longest static list of an item, per label and fold
  std::optional<serve::ScanOptions> scan;  // absent = what suits the pool
};

struct Published {
  uintmax_t bytes = 0;
  std::string version;  // Bundle::version()
  int64_t users = 0, items = 0, examples = 0;
};

// Stages that are stale run first. Throws Error naming the backbone, context or task that cannot be
// served.
Published publish(const RunConfig& config, const PublishOptions& options);

}  // namespace llmcf::pipeline
