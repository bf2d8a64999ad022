// What the service answers: JSON or plain structures, no transport in here. One class, one method
// per endpoint.
//
// Invariants:
//  1. A request uses one release (and one catalogue of it) from start to end, whatever is swapped
//     meanwhile; all requests of a body choose from one lineup.
//  2. Unknown users and items are served, and named in the answer; a request that cannot be
//     understood is a net::HttpError 4xx that names the field.
//  3. Where examples are missing, the model's own answer without them is given, flagged by
//     `fallback` and counted.
//  4. A shadow changes no answer and delays none: its scores come after, and are dropped where they
//     cannot keep up.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <atomic>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answers.h"
#include "serve/background_queue.h"
#include "serve/deployment.h"
#include "serve/first_stage.h"
#include "serve/history_store.h"
#include "serve/json_reader.h"
#include "serve/metrics.h"
#include "serve/release_metrics.h"
#include "serve/releases.h"

namespace llmcf::serve {

// limits:
//   candidates: 10000    # of one request
//   history: 1000        # items of an explicit history; the newest of a stored one
//   batch: 64            # requests in one body, events or items in one body x 100
//   window: 1000         # last requests that gauges are about
//   shadow_queue: 256    # requests that wait for the shadow; more are dropped
struct ServiceLimits {
  size_t candidates = 10'000;
  size_t history = 1000;
  size_t batch = 64;
  size_t window = 1000;
  size_t shadow_queue = 256;

  static ServiceLimits from(const Config& section);
};

class Service {
 public:
  // Opens the bundle, and the one that candidates come from where there is one. Throws Error.
  Service(std::filesystem::path bundle, std::unique_ptr<HistoryStore> histories,
          const ServiceLimits& limits, FirstStageOptions first_stage = {});

  // `id`: of the request; decides for the canary where no user is named.
  RankedAnswers rank(const Json& body, const std::string& id = "");
  RankedAnswers recommend(const Json& body, const std::string& id = "");
  Json explain(const Json& body, const std::string& id = "");
  Json add_events(const Json& body);
  Json add_items(const Json& body);
  Json forget(const std::string& user);
  Json info() const;

  // Opens a bundle's file again and puts it into service, with the primary's also the one that
  // candidates come from; requests that run keep theirs. Throws Error if one cannot be opened: the
  // old one stays, and the other comes into service all the same.
  Json reload(Role role = Role::kPrimary);
  // Puts a second bundle into service, or gives it another share.
  void put(Role role, const SecondBundle& second);
  Json put(Role role, const Json& body);  // {bundle, share}, both optional
  Json remove(Role role);
  std::vector<Role> roles() const;  // that somebody has
  // Brings the gauges of metrics() up to date.
  void update_gauges();
  // Until the shadow has scored what waits for it.
  void wait_for_shadow() { shadow_queue_.wait_until_idle(); }

  Metrics& metrics() { return metrics_; }
  std::shared_ptr<Deployment> deployment() const;  // the primary's

 private:
  struct Arrival;
  struct View;
  struct Scored;
  struct Listed;
  using One = Ranked (Service::*)(JsonReader&, const Arrival&);

  RankedAnswers each(const Json& body, const std::string& id, One one);
  Ranked rank_one(JsonReader& request, const Arrival& arrival);
  Ranked recommend_one(JsonReader& request, const Arrival& arrival);
  View view_of(JsonReader& request, const Arrival& arrival);
  void read_history(JsonReader& request, View& view);
  Scored score(const View& view, std::span<const int32_t> candidates, float* attention);
  Scored score_by_state(const View& view, std::span<const int32_t> candidates, float* attention);
  Listed first_stage(const View& view, size_t wanted, size_t k, std::span<const char> hidden);
  Listed listed_by_state(const View& view, size_t wanted, std::span<const char> hidden);
  void explain_examples(const View& view, const Scored& scored, int32_t candidate,
                        std::span<const float> attention, Json& answer) const;
  static float without_examples(const View& view, int32_t candidate);
  std::exception_ptr open_candidates();
  void pair(Deployment& ranking);
  std::vector<int32_t> seeds(const View& view, size_t wanted, std::span<const char> hidden) const;
  std::vector<char> hidden_items(JsonReader& request, const View& view) const;
  static Ranked answer(const View& view, const Scored& scored, std::span<const int32_t> candidates,
                       const std::vector<std::string>* names, std::span<const int32_t> order);
  std::vector<int32_t> diversified(const View& view, const Scored& scored,
                                   std::span<const int32_t> candidates, size_t k,
                                   double diversity) const;
  ItemDefinition item_of(JsonReader& item) const;

  // service_releases.cc
  std::shared_ptr<Release> open(Role role, const std::filesystem::path& file);
  Json reopen(Role role, Lineup::Place place);
  // Every release gets the items; what does not fit a second bundle is left out of it and logged.
  // Returns the values that the primary ignored.
  static std::vector<std::string> add_to_all(const Lineup& lineup,
                                             std::span<const ItemDefinition> items);
  void put_into_service(Role role, Lineup::Place place);
  void count_stages(const Scored& scored, int64_t candidates);
  // What the release's own metrics and window are told of a request.
  void observe(const View& view, const Scored& scored, std::span<const int32_t> candidates);
  // After the answer's text is made; `names` as answer() takes them.
  void answered(const View& view, const Scored& scored, std::span<const int32_t> candidates,
                const std::vector<std::string>* names);
  static View shadow_view(const View& view);
  void score_as_shadow(const View& view, std::span<const int32_t> candidates,
                       const std::vector<std::string>& names, std::span<const float> expected,
                       bool products);

  std::unique_ptr<HistoryStore> histories_;
  ServiceLimits limits_;
  FirstStageOptions first_stage_;
  Metrics metrics_;
  ReleaseMetrics release_metrics_{metrics_};
  std::mutex reloading_;                        // of bundles and added items
  std::shared_ptr<const Deployment> sequence_;  // that candidates come from; under reloading_
  Releases releases_;
  BackgroundQueue shadow_queue_;  // last: what waits uses the others
};

}  // namespace llmcf::serve
