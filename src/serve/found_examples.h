// What a walk (example_walk.h) has found for the candidates of a request, before the best are kept.
//
// Invariants:
//  1. A candidate's examples lie side by side, in the order in which they were added.
//  2. Nothing is allocated once as much has been found before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llmcf::serve {

// One that may be among the best of a candidate.
struct FoundExample {
  float score;   // approximate, then exact
  float target;  // t(i).t(c)
  int32_t column;
  float history;  // h(q).h(c), once exact
};

// A run of one array for each candidate. A run that grows where it has no room moves to the array's
// end.
class FoundExamples {
 public:
  void reset(int64_t candidates) {
    all_.clear();
    runs_.assign(static_cast<size_t>(candidates), {});
  }
  std::span<FoundExample> of(int64_t candidate) {
    const Run& run = runs_[static_cast<size_t>(candidate)];
    return std::span(all_).subspan(run.begin, run.size);
  }
  void add(int64_t candidate, const FoundExample& found) {
    Run& run = runs_[static_cast<size_t>(candidate)];
    if (run.size == run.capacity) {
      if (run.begin + run.size != all_.size() || run.size == 0) move_to_end(run);
      all_.resize(all_.size() + 1);
      ++run.capacity;
    }
    all_[run.begin + run.size++] = found;
  }
  template <typename Unwanted>
  void drop_if(int64_t candidate, const Unwanted& unwanted) {
    const auto found = of(candidate);
    const auto end = std::remove_if(found.begin(), found.end(), unwanted);
    runs_[static_cast<size_t>(candidate)].size = static_cast<size_t>(end - found.begin());
  }
  void keep_first(int64_t candidate, size_t count) {
    Run& run = runs_[static_cast<size_t>(candidate)];
    run.size = std::min(run.size, count);
  }

 private:
  struct Run {
    size_t begin = 0, size = 0, capacity = 0;
  };

  void move_to_end(Run& run) {
    const size_t begin = all_.size();
    run.capacity = 2 * run.size;
    all_.resize(begin + run.capacity);
    std::copy_n(all_.begin() + static_cast<int64_t>(run.begin), run.size,
                all_.begin() + static_cast<int64_t>(begin));
    run.begin = begin;
  }

  std::vector<FoundExample> all_;
  std::vector<Run> runs_;
};

}  // namespace llmcf::serve
