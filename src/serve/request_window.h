// The last requests that a bundle answered, for gauges that say how things are now: is what
// retrieval finds still distributed as it was over the run's test rows, is there an example for
// every candidate, how often does an answer lack a part.
//
// Invariant: every request has the same weight, however many candidates it has.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "serve/retrieval_profile.h"

namespace llmcf::serve {

// Why an answer lacks a part.
enum class Fallback : uint8_t {
  kNoExamples,         // no candidate has an example
  kNoHistory,          // nothing is known of whoever asks
  kUnknownCandidates,  // some candidates are scored without id, values and text
  kNoUserText,         // the model reads a text about the user, there is none
  kOlderUserText,      // the user's history has outgrown the text
};
inline constexpr int kFallbacks = 5;
std::string_view fallback_name(Fallback fallback);

// What a window keeps of a request.
struct RequestRecord {
  RetrievalProfile retrieval;
  uint32_t fallbacks = 0;  // bits by Fallback

  void mark(Fallback fallback) { fallbacks |= 1U << static_cast<unsigned>(fallback); }
  bool has(Fallback fallback) const {
    return (fallbacks >> static_cast<unsigned>(fallback) & 1U) != 0;
  }
};

// Shares and distances are NaN where nothing has been seen or the bundle has no reference.
struct WindowFigures {
  int64_t requests = 0;
  double population_stability = 0, kolmogorov_smirnov = 0;
  double with_examples = 0, complete = 0, filled = 0;  // shares of candidates, candidates, slots
  std::array<double, kFallbacks> fallbacks{};          // shares of requests
};

class RequestWindow {
 public:
  // The last `length` requests against a reference. REQUIRES: length >= 1.
  RequestWindow(size_t length, std::optional<RetrievalProfile> reference);

  void add(const RequestRecord& record);
  WindowFigures figures() const;
  const std::optional<RetrievalProfile>& reference() const { return reference_; }

 private:
  const size_t length_;
  const std::optional<RetrievalProfile> reference_;
  mutable std::mutex guard_;
  std::vector<RequestRecord> records_;  // a ring once it is full
  size_t next_ = 0;
};

}  // namespace llmcf::serve
