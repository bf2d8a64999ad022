// Progress of a long loop: a bar with rate and ETA on a terminal, a plain line every few seconds
// otherwise. Writes to standard error only, and nothing at all when disabled.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace llmcf {

// On (the default) or off for the whole process (`--quiet`).
void set_progress_enabled(bool enabled);

class Progress {
 public:
  // total 0 = unknown. `unit` is plural, e.g. "rows".
  Progress(std::string label, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Thread-safe.
  void advance(int64_t amount);
  // Text shown behind the rate, e.g. "loss 0.4312". Thread-safe.
  void note(std::string text);

 private:
  using Clock = std::chrono::steady_clock;
  void show(bool last);

  std::mutex guard_;
  std::string label_;
  std::string unit_;
  std::string note_;
  int64_t total_;
  int64_t done_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
  bool terminal_;
  bool enabled_;
};

}  // namespace llmcf
