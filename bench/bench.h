// What every benchmark program shares: which figures were asked for, timing, and the one output
// format.
//
//   <name> TAB <value> TAB <unit> TAB <limit>      one line per figure on standard output
//
// limit: what the machine's arithmetic or bandwidth allows, measured in the same run; empty where
// it is not known.
//
// Names are <room>.<what>[.<variant>]. A program takes one argument: print only figures whose names
// begin with it. Timings are medians after a warm-up; notes (threads, sizes, peak memory) go to
// standard error.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <sys/resource.h>

namespace llmcf::bench {

inline std::string& filter() {
  static std::string prefix;
  return prefix;
}

inline void init(int argc, char** argv) {
  if (argc > 1) filter() = argv[1];
}

// Whether a figure of this name, or one below it, was asked for.
inline bool wanted(std::string_view name) {
  return name.substr(0, filter().size()) == std::string_view(filter()).substr(0, name.size());
}

inline void report(const std::string& name, double value, const std::string& unit,
                   const std::string& limit = "") {
  if (!std::string_view(name).starts_with(filter())) return;
  std::printf("%s\t%.6g\t%s\t%s\n", name.c_str(), value, unit.c_str(), limit.c_str());
  std::fflush(stdout);
}

template <typename F>
double seconds(const F& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Median of `runs` timings after one warm-up.
template <typename F>
double median_seconds(int runs, const F& work) {
  work();
  std::vector<double> times;
  for (int run = 0; run < runs; ++run)
    times.push_back(seconds(work));
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[static_cast<size_t>(runs / 2)];
}

// Peak resident memory of this process so far, in MiB.
inline double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace llmcf::bench
