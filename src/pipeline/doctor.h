// `llmcf doctor`: what is installed and found, which threads, BLAS and SIMD are in use, and whether
// a workspace is sound. Only reads; never repairs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace llmcf::pipeline {

enum class Health { kGood, kWarning, kBad };

struct Finding {
  Health health = Health::kGood;
  std::string subject;  // "BLAS", "data/rows.safetensors", ...
  std::string detail;   // what was found; for a warning or worse, what to do
};

// Libraries, threads, BLAS, SIMD, memory, disk.
std::vector<Finding> examine_installation();

// Every artefact of the workspace: checksums of safetensors files, the pool's integrity, left-over
// temporary files, records that do not match their outputs. A missing artefact is not an error: the
// stage has not run yet.
std::vector<Finding> examine_workspace(const std::filesystem::path& root);

}  // namespace llmcf::pipeline
