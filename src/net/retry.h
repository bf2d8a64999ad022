// When to ask again, and how long to wait: exponential backoff with full jitter (wait uniformly in
// [0, min(max_delay, base_delay * 2^n)]), or what the server's Retry-After says if that is longer.
//
// Time comes in through Clock, so that tests do not sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/config.h"
#include "core/random.h"
#include "net/http_client.h"

namespace llmcf::net {

using Milliseconds = std::chrono::milliseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  // Of the calendar: Retry-After may hold a date.
  virtual std::chrono::system_clock::time_point now() const = 0;
  // Returns early when *cancelled becomes true (null = never).
  virtual void sleep(Milliseconds duration, const std::atomic<bool>* cancelled) = 0;
  // The machine's clock; lives for the whole program.
  static Clock& system();
};

struct RetryPolicy {
  int64_t max_attempts = 6;               // in all; 1 = never again
  Milliseconds base_delay{500};           // upper end of the first wait
  Milliseconds max_delay{30'000};         // upper end of any wait of our own choice
  Milliseconds max_retry_after{120'000};  // a server that asks for more is given up on
  double jitter = 1.0;                    // 1 = full, 0 = none (always the upper end)

  // Keys: max_attempts, base_delay_ms, max_delay_ms, max_retry_after_ms, jitter. Does not call
  // finish().
  static RetryPolicy from(const Config& config);
  // 408, 409, 425, 429 and every 5xx but 501 and 505.
  static bool retryable(int status);
};

// The wait an answer asks for (Retry-After as seconds or date), nullopt if none or unreadable.
std::optional<Milliseconds> retry_after(const HttpResponse& response, const Clock& clock);

// Counts attempts of one request and waits between them. Not thread-safe: one per request.
class Backoff {
 public:
  // `random` decides the jitter; both must outlive this object.
  Backoff(const RetryPolicy& policy, Random& random, Clock& clock = Clock::system(),
          const std::atomic<bool>* cancelled = nullptr);

  // After a failed attempt: waits and returns true, or returns false at once if there shall be no
  // other attempt (all used up, cancelled, or the server asks for more patience than we have).
  bool wait(std::optional<Milliseconds> retry_after = std::nullopt);
  // Attempts begun so far, the first included.
  int64_t attempts() const { return attempts_; }

 private:
  RetryPolicy policy_;
  Random& random_;
  Clock& clock_;
  const std::atomic<bool>* cancelled_;
  int64_t attempts_ = 1;
};

// Sends until there is an answer that is not retryable or patience ends. Returns the last answer
// whatever its status; throws the last TransportError if the last attempt had none. `attempt` runs
// one attempt, e.g. client.send(request) or client.stream(...). `on_retry` (may be empty) is told
// the reason after each failed attempt.
HttpResponse with_retries(Backoff& backoff, const Clock& clock,
                          const std::function<HttpResponse()>& attempt,
                          const std::function<void(const std::string& reason)>& on_retry = {});

}  // namespace llmcf::net
