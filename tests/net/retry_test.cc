// Retries with a clock that does not wait: delays, jitter, Retry-After, what is tried again.
#include "net/retry.h"

#include <deque>
#include <vector>

#include <gtest/gtest.h>

namespace llmcf::net {
namespace {

class FakeClock final : public Clock {
 public:
  std::chrono::system_clock::time_point now() const override { return time; }
  void sleep(Milliseconds duration, const std::atomic<bool>*) override {
    waits.push_back(duration.count());
    time += duration;
  }
  std::chrono::system_clock::time_point time = std::chrono::system_clock::from_time_t(784111777);
  std::vector<int64_t> waits;
};

HttpResponse answer(int status, const std::string& retry_after = "") {
  HttpResponse response;
  response.status = status;
  if (!retry_after.empty()) response.headers.emplace_back("retry-after", retry_after);
  return response;
}

struct Outcome {
  HttpResponse response;
  std::vector<int64_t> waits;
};

Outcome run(const RetryPolicy& policy, std::deque<HttpResponse> answers) {
  FakeClock clock;
  Random random(1, "retry");
  Backoff backoff(policy, random, clock);
  const HttpResponse last = with_retries(backoff, clock, [&] {
    const HttpResponse next = answers.front();
    if (answers.size() > 1) answers.pop_front();
    return next;
  });
  return {last, clock.waits};
}

TEST(Retry, WaitsDoubleUpToTheLimit) {
  const RetryPolicy policy{.max_attempts = 6,
                           .base_delay = Milliseconds(100),
                           .max_delay = Milliseconds(500),
                           .jitter = 0.0};
  const Outcome outcome = run(policy, {answer(503)});
  EXPECT_EQ(outcome.response.status, 503);
  EXPECT_EQ(outcome.waits, (std::vector<int64_t>{100, 200, 400, 500, 500}));
}

TEST(Retry, FullJitterCoversZeroToTheLimit) {
  FakeClock clock;
  Random random(3, "retry");
  for (int round = 0; round < 1000; ++round) {
    Backoff backoff({.base_delay = Milliseconds(1000)}, random, clock);
    EXPECT_TRUE(backoff.wait());
  }
  double sum = 0.0;
  for (const int64_t wait : clock.waits) {
    EXPECT_GE(wait, 0);
    EXPECT_LE(wait, 1000);
    sum += static_cast<double>(wait);
  }
  EXPECT_NEAR(sum / 1000.0, 500.0, 30.0);
}

TEST(Retry, OrdinaryAnswersAreNotRetried) {
  for (const int status : {200, 204, 301, 400, 401, 403, 404, 422, 501})
    EXPECT_TRUE(run({}, {answer(status), answer(200)}).waits.empty()) << status;
  for (const int status : {408, 409, 425, 429, 500, 502, 503, 504, 529})
    EXPECT_EQ(run({}, {answer(status), answer(200)}).waits.size(), 1U) << status;
}

TEST(Retry, RetryAfterIsHonouredAsSecondsAndAsDate) {
  EXPECT_EQ(run({}, {answer(429, "3"), answer(200)}).waits, std::vector<int64_t>{3000});
  // FakeClock starts at Sun, 06 Nov 1994 08:49:37 GMT.
  EXPECT_EQ(run({}, {answer(503, "Sun, 06 Nov 1994 08:49:57 GMT"), answer(200)}).waits,
            std::vector<int64_t>{20'000});
  EXPECT_LE(run({}, {answer(429, "soon"), answer(200)}).waits.front(), 500);
}

TEST(Retry, GivesUpWhenTheServerAsksForMorePatienceThanThereIs) {
  const Outcome outcome = run({.max_retry_after = Milliseconds(5000)}, {answer(429, "6")});
  EXPECT_EQ(outcome.response.status, 429);
  EXPECT_TRUE(outcome.waits.empty());
}

TEST(Retry, TheLastTransportErrorIsThrown) {
  FakeClock clock;
  Random random(1, "retry");
  int attempts = 0;
  Backoff backoff({.max_attempts = 3}, random, clock);
  EXPECT_THROW(with_retries(backoff, clock,
                            [&]() -> HttpResponse {
                              ++attempts;
                              throw TransportError(TransportError::Kind::kDropped, "dropped");
                            }),
               TransportError);
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(clock.waits.size(), 2U);
}

TEST(Retry, UselessErrorsAreNotRetried) {
  FakeClock clock;
  Random random(1, "retry");
  Backoff backoff({}, random, clock);
  EXPECT_THROW(with_retries(backoff, clock,
                            []() -> HttpResponse {
                              throw TransportError(TransportError::Kind::kRefused, "bad address");
                            }),
               TransportError);
  EXPECT_TRUE(clock.waits.empty());
}

TEST(Retry, ACancelledWaitEndsEarly) {
  std::atomic<bool> cancelled{true};
  Random random(1, "retry");
  Backoff backoff({.base_delay = Milliseconds(60'000), .jitter = 0.0}, random, Clock::system(),
                  &cancelled);
  EXPECT_FALSE(backoff.wait());
}

TEST(Retry, PolicyIsReadFromConfiguration) {
  const Config config = Config::parse("max_attempts: 3\nbase_delay_ms: 7\njitter: 0.5\n");
  const RetryPolicy policy = RetryPolicy::from(config);
  config.finish();
  EXPECT_EQ(policy.max_attempts, 3);
  EXPECT_EQ(policy.base_delay.count(), 7);
  EXPECT_DOUBLE_EQ(policy.jitter, 0.5);
  EXPECT_THROW(RetryPolicy::from(Config::parse("max_attempts: 0")), InputError);
}

}  // namespace
}  // namespace llmcf::net
