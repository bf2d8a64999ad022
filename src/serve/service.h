// What the service answers: JSON in, JSON out, no HTTP in here. One class, one method per endpoint.
//
// Invariants:
//  1. A request uses one deployment (and one catalogue of it) from start to end, whatever is
//  swapped
//     meanwhile.
//  2. Unknown users and items are served, and named in the answer; a request that cannot be
//     understood is a net::HttpError 4xx that names the field.
//  3. Where examples are missing, the model's own answer without them is given, flagged by
//     `fallback` and counted.
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

#include "serve/deployment.h"
#include "serve/first_stage.h"
#include "serve/history_store.h"
#include "serve/json_reader.h"
#include "serve/metrics.h"

namespace llmcf::serve {

// limits:
//   candidates: 10000    # of one request
//   history: 1000        # items of an explicit history; the newest of a stored one
//   batch: 64            # requests in one body, events or items in one body x 100
struct ServiceLimits {
  size_t candidates = 10'000;
  size_t history = 1000;
  size_t batch = 64;

  static ServiceLimits from(const Config& section);
};

class Service {
 public:
  // Opens the bundle, and the one that candidates come from where there is one. Throws Error.
  Service(std::filesystem::path bundle, std::unique_ptr<HistoryStore> histories,
          const ServiceLimits& limits, FirstStageOptions first_stage = {});

  // JSON texts.
  std::string rank(const Json& body);
  std::string recommend(const Json& body);
  Json explain(const Json& body);
  Json add_events(const Json& body);
  Json add_items(const Json& body);
  Json forget(const std::string& user);
  Json info() const;
  // Opens the bundles' files again and puts them into service; requests that run keep theirs.
  // Throws Error if one cannot be opened: the old one stays, and the other comes into service all
  // the same.
  Json reload();

  Metrics& metrics() { return metrics_; }
  std::shared_ptr<Deployment> deployment() const;

 private:
  struct View;
  struct Scored;
  struct Listed;

  std::string each(const Json& body, std::string (Service::*one)(JsonReader&));
  std::string rank_one(JsonReader& request);
  std::string recommend_one(JsonReader& request);
  View view_of(JsonReader& request);
  void read_history(JsonReader& request, View& view);
  Scored score(const View& view, std::span<const int32_t> candidates, float* attention);
  Scored score_by_state(const View& view, std::span<const int32_t> candidates, float* attention);
  Listed first_stage(const View& view, size_t wanted, size_t k, std::span<const char> hidden);
  Listed listed_by_state(const View& view, size_t wanted, std::span<const char> hidden);
  void explain_examples(const View& view, const Scored& scored, int32_t candidate,
                        std::span<const float> attention, Json& answer) const;
  static float without_examples(const View& view, int32_t candidate);
  std::exception_ptr open_candidates();
  std::shared_ptr<Deployment> open_ranking(bool new_candidates);
  void pair(Deployment& ranking, const std::shared_ptr<const Deployment>& sequence);
  std::vector<int32_t> seeds(const View& view, size_t wanted, std::span<const char> hidden) const;
  std::vector<char> hidden_items(JsonReader& request, const View& view) const;
  static std::string answer(const View& view, const Scored& scored,
                            std::span<const int32_t> candidates,
                            const std::vector<std::string>* names, std::span<const int32_t> order,
                            std::span<const std::string> unknown, std::string_view stage = {});
  std::vector<int32_t> diversified(const View& view, const Scored& scored,
                                   std::span<const int32_t> candidates, size_t k,
                                   double diversity) const;
  ItemDefinition item_of(JsonReader& item) const;

  std::filesystem::path file_;
  std::unique_ptr<HistoryStore> histories_;
  ServiceLimits limits_;
  FirstStageOptions first_stage_;
  Metrics metrics_;
  std::mutex reloading_;                        // of bundles and added items
  std::shared_ptr<const Deployment> sequence_;  // that candidates come from; under reloading_
  mutable std::mutex guard_;                    // of deployment_
  std::shared_ptr<Deployment> deployment_;
};

}  // namespace llmcf::serve
