// Runs child processes, a few at a time, each with a limit on its memory.
//
// Invariants:
//  1. Children end with this process, however it ends.
//  2. A child that fails does not stop the others; `done` is told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace llmcf::pipeline::experiment {

struct Job {
  std::vector<std::string> arguments;  // of this program
  std::filesystem::path log;           // standard output and error
};

struct JobOutcome {
  bool succeeded = false;
  std::string reason;  // of a failure, for people
  double seconds = 0;
  double peak_mib = 0;
};

struct JobLimits {
  int64_t processes = 1;
  int64_t memory_mib = 3000;                              // of each
  std::function<bool()> may_start = [] { return true; };  // false: no further job is started
};

// As many as there are cores, threads of each considered, but no more than memory allows; a number
// in `wanted` above 0 is taken as it is.
int64_t processes_for(int64_t wanted, int64_t threads, int64_t memory_mib);

// `started` and `done` are called from this thread, with the job's index.
void run_jobs(const std::vector<Job>& jobs, const JobLimits& limits,
              const std::function<void(size_t)>& started,
              const std::function<void(size_t, const JobOutcome&)>& done);

}  // namespace llmcf::pipeline::experiment
