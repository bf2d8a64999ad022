#include "serve/release_metrics.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "serve/service_view.h"

namespace llmcf::serve {

namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Boundaries = Histogram::BucketBoundaries;

constexpr double kDay = 86400;
constexpr int kScoreBuckets = 20;  // of probabilities

Boundaries score_boundaries() {
  Boundaries boundaries;
  for (int bucket = 1; bucket < kScoreBuckets; ++bucket)
    boundaries.push_back(static_cast<double>(bucket) / kScoreBuckets);
  return boundaries;
}

const std::array<const char*, 5> kCoverage = {"candidates", "with_examples", "complete", "slots",
                                              "filled_slots"};

}  // namespace

const std::array<double, AgeCounts::kBuckets - 1>& AgeCounts::boundaries() {
  static const std::array<double, kBuckets - 1> ends = {
      kDay,       7 * kDay,   30 * kDay,      60 * kDay,      90 * kDay,
      180 * kDay, 365 * kDay, 2 * 365 * kDay, 4 * 365 * kDay, 8 * 365 * kDay};
  return ends;
}

void AgeCounts::add(int64_t seconds) {
  const auto age = static_cast<double>(seconds);
  const auto& ends = boundaries();
  ++counts[static_cast<size_t>(std::lower_bound(ends.begin(), ends.end(), age) - ends.begin())];
  sum += age;
}

struct ReleaseMetrics::Families {
  explicit Families(prometheus::Registry& registry)
      : requests(counter(registry, "llmcf_bundle_requests_total",
                         "Requests by the bundle that answered (or, a shadow, scored)")),
        fallbacks(counter(registry, "llmcf_bundle_fallbacks_total",
                          "Requests whose answer lacks a part, by bundle and reason")),
        coverage(counter(registry, "llmcf_bundle_coverage_total",
                         "Candidates, those with an example, with all K; slots, those filled")),
        shadow(counter(registry, "llmcf_shadow_requests_total",
                       "Requests offered to the shadow, by what became of them")),
        seconds(histogram(registry, "llmcf_bundle_request_seconds",
                          "Time from a request's parsing to its answer")),
        scores(histogram(registry, "llmcf_bundle_score", "Probabilities that were given")),
        similarity(histogram(registry, "llmcf_bundle_best_similarity",
                             "Similarity of every candidate's best example")),
        ages(histogram(registry, "llmcf_bundle_example_age_seconds",
                       "Time of the request minus the time of each example that was read")),
        text_ages(histogram(registry, "llmcf_bundle_user_text_age_items",
                            "Items of the history that the text about the user has not seen")),
        agreement(histogram(registry, "llmcf_shadow_agreement",
                            "Shadow against primary, by measure: mean absolute difference of "
                            "probabilities, overlap of the best ten, Kendall's tau")),
        release(gauge(registry, "llmcf_release", "1 for a bundle in service under this role")),
        share(gauge(registry, "llmcf_release_share", "Share of the requests that a bundle gets")),
        drift(gauge(registry, "llmcf_similarity_drift",
                    "Best similarities of the last requests against the run's test rows, by "
                    "measure")),
        window(gauge(registry, "llmcf_window_share", "Shares among the last requests, by what")),
        pool_age(gauge(registry, "llmcf_pool_age_seconds",
                       "Now minus the time of the pool's newest and median example")),
        queue(gauge(registry, "llmcf_shadow_waiting", "Requests that wait for the shadow")) {}

  static Family<Counter>& counter(prometheus::Registry& registry, const char* name,
                                  const char* help) {
    return BuildCounter().Name(name).Help(help).Register(registry);
  }
  static Family<Histogram>& histogram(prometheus::Registry& registry, const char* name,
                                      const char* help) {
    return BuildHistogram().Name(name).Help(help).Register(registry);
  }
  static Family<Gauge>& gauge(prometheus::Registry& registry, const char* name, const char* help) {
    return BuildGauge().Name(name).Help(help).Register(registry);
  }

  Family<Counter>&requests, &fallbacks, &coverage, &shadow;
  Family<Histogram>&seconds, &scores, &similarity, &ages, &text_ages, &agreement;
  Family<Gauge>&release, &share, &drift, &window, &pool_age, &queue;
};

// The series of one role: found once, so that a request looks nothing up by its labels.
struct ReleaseMetrics::Series {
  Series(Families& families, Role role)
      : name(role_name(role)),
        requests(families.requests.Add({{"bundle", name}})),
        seconds(families.seconds.Add({{"bundle", name}},
                                     Boundaries{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1,
                                                0.25, 0.5, 1, 2.5, 10})),
        scores(families.scores.Add({{"bundle", name}}, score_boundaries())),
        similarity(families.similarity.Add({{"bundle", name}}, similarity_boundaries())),
        ages(families.ages.Add({{"bundle", name}}, Boundaries(AgeCounts::boundaries().begin(),
                                                              AgeCounts::boundaries().end()))),
        text_ages(families.text_ages.Add({{"bundle", name}},
                                         Boundaries{0, 1, 2, 4, 8, 16, 32, 64, 128, 256})) {
    for (int reason = 0; reason < kFallbacks; ++reason)
      fallbacks.push_back(&families.fallbacks.Add(
          {{"bundle", name},
           {"reason", std::string(fallback_name(static_cast<Fallback>(reason)))}}));
    for (const char* what : kCoverage)
      coverage.push_back(&families.coverage.Add({{"bundle", name}, {"what", what}}));
  }

  const std::string name;
  Counter& requests;
  Histogram &seconds, &scores, &similarity, &ages, &text_ages;
  std::vector<Counter*> fallbacks, coverage;
};

// Gauges of one role, gone from the metrics when this is: what they said was of now.
struct ReleaseMetrics::Gauges {
  explicit Gauges(std::string role) : name(std::move(role)) {}
  Gauges(const Gauges&) = delete;
  Gauges& operator=(const Gauges&) = delete;
  ~Gauges() {
    for (const auto& [family, gauge] : set_before)
      family->Remove(gauge);
  }
  void set(Family<Gauge>& family, const char* label, std::string_view value_of_label,
           double value) {
    prometheus::Labels labels = {{"bundle", name}};
    if (label != nullptr) labels[label] = std::string(value_of_label);
    Gauge& gauge = family.Add(labels);
    gauge.Set(value);
    set_before.emplace(&family, &gauge);
  }

  const std::string name;
  std::set<std::pair<Family<Gauge>*, Gauge*>> set_before;
};

ReleaseMetrics::ReleaseMetrics(Metrics& metrics)
    : families_(std::make_unique<Families>(metrics.registry())) {}

ReleaseMetrics::~ReleaseMetrics() = default;

void ReleaseMetrics::answered(Role role, double seconds) {
  Series& series = of(role);
  series.requests.Increment();
  series.seconds.Observe(seconds);
}

void ReleaseMetrics::scored(Role role, const RequestRecord& record, std::span<const float> logits,
                            const AgeCounts& ages) {
  Series& series = of(role);
  std::vector<double> scores(kScoreBuckets);
  double sum = 0;
  for (const float logit : logits) {
    const double value = probability(logit);
    sum += value;
    const auto bucket = static_cast<size_t>(std::ceil(value * kScoreBuckets));
    scores[std::clamp<size_t>(bucket, 1, kScoreBuckets) - 1] += 1;
  }
  series.scores.ObserveMultiple(scores, sum);
  const RetrievalProfile& found = record.retrieval;
  double similarities = 0;  // to the resolution of the buckets
  for (size_t bucket = 0; bucket < found.best.size(); ++bucket)
    similarities += found.best[bucket] * similarity_end(bucket);
  series.similarity.ObserveMultiple({found.best.begin(), found.best.end()}, similarities);
  series.ages.ObserveMultiple({ages.counts.begin(), ages.counts.end()}, ages.sum);
  const std::array<int64_t, 5> coverage = {found.rows, found.with_examples, found.complete,
                                           found.slots, found.filled};
  for (size_t what = 0; what < coverage.size(); ++what)
    series.coverage[what]->Increment(static_cast<double>(coverage[what]));
  for (int reason = 0; reason < kFallbacks; ++reason)
    if (record.has(static_cast<Fallback>(reason)))
      series.fallbacks[static_cast<size_t>(reason)]->Increment();
}

void ReleaseMetrics::user_text_age(Role role, int64_t items) {
  of(role).text_ages.Observe(static_cast<double>(items));
}

void ReleaseMetrics::compared(const Agreement& agreement, bool probabilities) {
  const auto observe = [this](const char* measure, const Boundaries& boundaries, double value) {
    families_->agreement.Add({{"measure", measure}}, boundaries).Observe(value);
  };
  if (probabilities)
    observe("difference", {0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5},
            agreement.difference);
  observe("overlap_at_10", {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}, agreement.overlap);
  observe("kendall_tau", {-0.5, 0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1}, agreement.tau);
  families_->shadow.Add({{"result", "scored"}}).Increment();
}

void ReleaseMetrics::shadow_dropped() {
  families_->shadow.Add({{"result", "dropped"}}).Increment();
}

void ReleaseMetrics::shadow_failed() {
  families_->shadow.Add({{"result", "failed"}}).Increment();
}

void ReleaseMetrics::in_service(Role role, const std::string& version) {
  const std::lock_guard lock(guard_);
  const auto at = static_cast<size_t>(role);
  if (series_[at] == nullptr && !version.empty())
    series_[at] = std::make_unique<Series>(*families_, role);
  if (version.empty()) gauges_[at] = nullptr;
  std::string& last = versions_[at];
  const auto tell = [&](double value) {
    families_->release.Add({{"bundle", std::string(role_name(role))}, {"version", last}})
        .Set(value);
  };
  if (!last.empty()) tell(0);
  last = version;
  if (!last.empty()) tell(1);
}

void ReleaseMetrics::update(const Release& release, double share, int64_t now) {
  const WindowFigures figures = release.window.figures();
  const std::lock_guard lock(guard_);
  auto& gauges = gauges_[static_cast<size_t>(release.role)];
  if (gauges == nullptr) gauges = std::make_unique<Gauges>(std::string(role_name(release.role)));
  gauges->set(families_->share, nullptr, {}, share);
  if (release.window.reference()) {
    gauges->set(families_->drift, "measure", "population_stability", figures.population_stability);
    gauges->set(families_->drift, "measure", "kolmogorov_smirnov", figures.kolmogorov_smirnov);
  }
  const auto window = [&](std::string_view what, double value) {
    gauges->set(families_->window, "what", what, value);
  };
  window("candidates_with_examples", figures.with_examples);
  window("candidates_complete", figures.complete);
  window("slots_filled", figures.filled);
  for (int reason = 0; reason < kFallbacks; ++reason)
    window(fallback_name(static_cast<Fallback>(reason)),
           figures.fallbacks[static_cast<size_t>(reason)]);
  if (release.median_example == 0) return;
  const auto age = [&](const char* example, int64_t time) {
    gauges->set(families_->pool_age, "example", example, static_cast<double>(now - time));
  };
  age("newest", release.deployment.spec().newest_example);
  age("median", release.median_example);
}

void ReleaseMetrics::shadow_queue(int64_t waiting) {
  families_->queue.Add({}).Set(static_cast<double>(waiting));
}

}  // namespace llmcf::serve
