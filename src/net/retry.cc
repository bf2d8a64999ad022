#include "net/retry.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include <curl/curl.h>
#include <fmt/format.h>

#include "core/strings.h"

namespace llmcf::net {

namespace {

class SystemClock final : public Clock {
 public:
  std::chrono::system_clock::time_point now() const override {
    return std::chrono::system_clock::now();
  }
  void sleep(Milliseconds duration, const std::atomic<bool>* cancelled) override {
    const auto end = std::chrono::steady_clock::now() + duration;
    constexpr Milliseconds kPoll{50};
    while (cancelled == nullptr || !cancelled->load()) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= left.zero()) return;
      if (cancelled == nullptr) {
        std::this_thread::sleep_for(left);
      } else {
        std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, kPoll));
      }
    }
  }
};

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load();
}

}  // namespace

Clock& Clock::system() {
  static SystemClock clock;
  return clock;
}

RetryPolicy RetryPolicy::from(const Config& config) {
  constexpr int64_t kDay = 86'400'000;
  RetryPolicy policy;
  policy.max_attempts = config.get_int("max_attempts", policy.max_attempts, 1, 1'000);
  policy.base_delay =
      Milliseconds(config.get_int("base_delay_ms", policy.base_delay.count(), 0, kDay));
  policy.max_delay =
      Milliseconds(config.get_int("max_delay_ms", policy.max_delay.count(), 0, kDay));
  policy.max_retry_after =
      Milliseconds(config.get_int("max_retry_after_ms", policy.max_retry_after.count(), 0, kDay));
  policy.jitter = config.get_number("jitter", policy.jitter, 0.0, 1.0);
  return policy;
}

bool RetryPolicy::retryable(int status) {
  if (status == 408 || status == 409 || status == 425 || status == 429) return true;
  return status >= 500 && status <= 599 && status != 501 && status != 505;
}

std::optional<Milliseconds> retry_after(const HttpResponse& response, const Clock& clock) {
  const std::optional<std::string> value = response.header("retry-after");
  if (!value) return std::nullopt;
  if (const std::optional<double> seconds = parse_double(*value)) {
    if (!(*seconds >= 0.0)) return std::nullopt;
    return Milliseconds(static_cast<int64_t>(std::ceil(std::min(*seconds, 1e9) * 1e3)));
  }
  const time_t date = curl_getdate(value->c_str(), nullptr);
  if (date < 0) return std::nullopt;
  const auto wait = std::chrono::system_clock::from_time_t(date) - clock.now();
  return std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(wait));
}

Backoff::Backoff(const RetryPolicy& policy, Random& random, Clock& clock,
                 const std::atomic<bool>* cancelled)
    : policy_(policy), random_(random), clock_(clock), cancelled_(cancelled) {}

bool Backoff::wait(std::optional<Milliseconds> retry_after) {
  if (attempts_ >= policy_.max_attempts || is_set(cancelled_)) return false;
  if (retry_after && *retry_after > policy_.max_retry_after) return false;
  const double doubled = static_cast<double>(policy_.base_delay.count()) *
                         std::exp2(static_cast<double>(std::min<int64_t>(attempts_ - 1, 60)));
  const double most = std::min(doubled, static_cast<double>(policy_.max_delay.count()));
  const double share = 1.0 - policy_.jitter * random_.uniform();
  Milliseconds delay(std::llround(most * share));
  if (retry_after) delay = std::max(delay, *retry_after);
  clock_.sleep(delay, cancelled_);
  if (is_set(cancelled_)) return false;
  ++attempts_;
  return true;
}

HttpResponse with_retries(Backoff& backoff, const Clock& clock,
                          const std::function<HttpResponse()>& attempt,
                          const std::function<void(const std::string& reason)>& on_retry) {
  for (;;) {
    std::optional<Milliseconds> asked;
    std::string reason;
    std::optional<HttpResponse> response;
    std::exception_ptr failure;
    try {
      response = attempt();
      if (!RetryPolicy::retryable(response->status)) return *std::move(response);
      asked = retry_after(*response, clock);
      reason = fmt::format("HTTP status {}", response->status);
    } catch (const TransportError& error) {
      if (!error.retryable()) throw;
      reason = error.what();
      failure = std::current_exception();
    }
    if (on_retry) on_retry(reason);
    if (backoff.wait(asked)) continue;
    if (failure) std::rethrow_exception(failure);
    return *std::move(response);
  }
}

}  // namespace llmcf::net
