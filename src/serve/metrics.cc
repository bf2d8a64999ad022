#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace llmcf::serve {

namespace {

// Seconds: from 0.1 ms to 10 s.
prometheus::Histogram::BucketBoundaries latency_buckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015,
          0.02,   0.025,   0.05,   0.1,   0.25,   0.5,   1,      2.5,  10};
}

prometheus::Histogram::BucketBoundaries similarity_buckets() {
  return {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0};
}

template <typename Builder>
auto& family(Builder builder, const char* name, const char* help, prometheus::Registry& registry) {
  return builder.Name(name).Help(help).Register(registry);
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>&requests =
      family(prometheus::BuildCounter(), "llmcf_requests_total", "Requests by endpoint and status",
             registry),
  &fallbacks = family(prometheus::BuildCounter(), "llmcf_fallbacks_total",
                      "Answers that lack a part, by reason", registry),
  &unknowns = family(prometheus::BuildCounter(), "llmcf_unknown_total",
                     "Users and items that nothing is known of, by kind", registry),
  &counted = family(prometheus::BuildCounter(), "llmcf_scored_candidates_total",
                    "Candidates that were scored", registry),
  &reloads = family(prometheus::BuildCounter(), "llmcf_reloads_total",
                    "Bundles that were to be opened anew, by result", registry),
  &appended = family(prometheus::BuildCounter(), "llmcf_events_total", "Events that were appended",
                     registry);
  prometheus::Family<prometheus::Histogram>&latency =
      family(prometheus::BuildHistogram(), "llmcf_request_seconds",
             "Time of a request in its handler, by endpoint", registry),
  &stages = family(prometheus::BuildHistogram(), "llmcf_stage_seconds",
                   "Time of one stage of a request", registry),
  &similarities = family(prometheus::BuildHistogram(), "llmcf_best_similarity",
                         "Similarity of the best example of a request's first candidate", registry);
  prometheus::Family<prometheus::Gauge>&bundles =
      family(prometheus::BuildGauge(), "llmcf_bundle", "1 for the bundle in service", registry),
  &gauges =
      family(prometheus::BuildGauge(), "llmcf_state", "What is in service, by name", registry);
  std::string bundle;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::request(std::string_view endpoint, int status, double seconds) {
  const std::string name(endpoint);
  impl_->requests.Add({{"endpoint", name}, {"status", std::to_string(status)}}).Increment();
  impl_->latency.Add({{"endpoint", name}}, latency_buckets()).Observe(seconds);
}

void Metrics::stage(std::string_view stage, double seconds) {
  impl_->stages.Add({{"stage", std::string(stage)}}, latency_buckets()).Observe(seconds);
}

void Metrics::reload(bool worked) {
  impl_->reloads.Add({{"result", worked ? "ok" : "failed"}}).Increment();
}

void Metrics::fallback(std::string_view reason, int64_t count) {
  impl_->fallbacks.Add({{"reason", std::string(reason)}}).Increment(static_cast<double>(count));
}

void Metrics::unknown(std::string_view what, int64_t count) {
  if (count > 0)
    impl_->unknowns.Add({{"kind", std::string(what)}}).Increment(static_cast<double>(count));
}

void Metrics::candidates(int64_t count) {
  impl_->counted.Add({}).Increment(static_cast<double>(count));
}

void Metrics::events(int64_t count) {
  impl_->appended.Add({}).Increment(static_cast<double>(count));
}

void Metrics::similarity(double value) {
  impl_->similarities.Add({}, similarity_buckets()).Observe(value);
}

void Metrics::bundle(const std::string& version, int64_t examples, int64_t items,
                     int64_t newest_example) {
  if (!impl_->bundle.empty()) impl_->bundles.Add({{"version", impl_->bundle}}).Set(0);
  impl_->bundle = version;
  impl_->bundles.Add({{"version", version}}).Set(1);
  impl_->gauges.Add({{"name", "examples"}}).Set(static_cast<double>(examples));
  impl_->gauges.Add({{"name", "items"}}).Set(static_cast<double>(items));
  impl_->gauges.Add({{"name", "newest_example_seconds"}}).Set(static_cast<double>(newest_example));
}

void Metrics::server(int64_t connections, int64_t waiting, int64_t running, int64_t overloaded,
                     int64_t late) {
  const auto set = [this](const char* name, int64_t value) {
    impl_->gauges.Add({{"name", name}}).Set(static_cast<double>(value));
  };
  set("connections", connections);
  set("waiting_requests", waiting);
  set("running_requests", running);
  set("overloaded_requests", overloaded);
  set("late_requests", late);
}

prometheus::Registry& Metrics::registry() {
  return impl_->registry;
}

void Metrics::state(const char* name, double value) {
  impl_->gauges.Add({{"name", name}}).Set(value);
}

std::string Metrics::text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace llmcf::serve
