// What is counted of each bundle in service, as Prometheus reads it: label bundle="primary",
// "canary" or "shadow". A series appears when its bundle first comes into service.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "serve/agreement.h"
#include "serve/metrics.h"
#include "serve/releases.h"

namespace llmcf::serve {

// Ages of what was read, counted before they are told: one lock per request, not per example.
class AgeCounts {
 public:
  static constexpr size_t kBuckets = 11;
  // Upper ends in seconds, all but the last bucket's.
  static const std::array<double, kBuckets - 1>& boundaries();
  void add(int64_t seconds);

  std::array<int64_t, kBuckets> counts{};
  double sum = 0;
};

class ReleaseMetrics {
 public:
  explicit ReleaseMetrics(Metrics& metrics);
  ~ReleaseMetrics();

  // One request that this bundle answered (or, of a shadow, scored), from its parsing to its
  // answer.
  void answered(Role role, double seconds);
  void scored(Role role, const RequestRecord& record, std::span<const float> logits,
              const AgeCounts& ages);
  // Items of the user's history that the text about the user has not seen.
  void user_text_age(Role role, int64_t items);
  // A shadow's scores beside the primary's. Where one of them gives no probabilities (a sequence
  // model's inner products) only the orders are compared.
  void compared(const Agreement& agreement, bool probabilities);
  void shadow_dropped();
  void shadow_failed();
  // `version` is in service under this role; empty = nobody is any more. Told before the bundle
  // gets its first request.
  void in_service(Role role, const std::string& version);
  // Brings gauges up to date: what a release's window says at `now` (Unix seconds).
  void update(const Release& release, double share, int64_t now);
  void shadow_queue(int64_t waiting);

 private:
  struct Families;
  struct Series;
  struct Gauges;
  Series& of(Role role) { return *series_[static_cast<size_t>(role)]; }

  std::unique_ptr<Families> families_;
  std::mutex guard_;                               // of in_service() and update()
  std::array<std::unique_ptr<Series>, 3> series_;  // made before a request can need them
  std::array<std::string, 3> versions_;
  std::array<std::unique_ptr<Gauges>, 3> gauges_;  // of who is in service
};

}  // namespace llmcf::serve
