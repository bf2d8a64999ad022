// What the service answers: JSON or plain structures, no transport in here. One class, one method
// per endpoint.
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
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "serve/answers.h"
#include "serve/deployment.h"
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
  // Opens the bundle. Throws Error.
  Service(std::filesystem::path bundle, std::unique_ptr<HistoryStore> histories,
          const ServiceLimits& limits);

  RankedAnswers rank(const Json& body);
  RankedAnswers recommend(const Json& body);
  Json explain(const Json& body);
  Json add_events(const Json& body);
  Json add_items(const Json& body);
  Json forget(const std::string& user);
  Json info() const;
  // Opens the bundle's file again and puts it into service; requests that run keep theirs. Throws
  // Error, and the old one stays, if it cannot be opened.
  Json reload();

  Metrics& metrics() { return metrics_; }
  std::shared_ptr<Deployment> deployment() const;

 private:
  struct Arrival;
  struct View;
  struct Scored;
  using One = Ranked (Service::*)(JsonReader&, const Arrival&);

  Arrival arrival() const;
  RankedAnswers each(const Json& body, One one);
  Ranked rank_one(JsonReader& request, const Arrival& arrived);
  Ranked recommend_one(JsonReader& request, const Arrival& arrived);
  View view_of(JsonReader& request, const Arrival& arrived);
  void read_history(JsonReader& request, View& view);
  Scored score(const View& view, std::span<const int32_t> candidates, float* attention);
  std::vector<int32_t> seeds(const View& view, size_t wanted,
                             const std::vector<char>& hidden) const;
  std::vector<char> hidden_items(JsonReader& request, const View& view) const;
  static Ranked answer(const View& view, const Scored& scored, std::span<const int32_t> candidates,
                       const std::vector<std::string>* names, std::span<const int32_t> order);
  std::vector<int32_t> diversified(const View& view, const Scored& scored,
                                   std::span<const int32_t> candidates, size_t k,
                                   double diversity) const;
  ItemDefinition item_of(JsonReader& item) const;

  std::filesystem::path file_;
  std::unique_ptr<HistoryStore> histories_;
  ServiceLimits limits_;
  Metrics metrics_;
  std::mutex reloading_;      // of bundles and added items
  mutable std::mutex guard_;  // of deployment_
  std::shared_ptr<Deployment> deployment_;
};

}  // namespace llmcf::serve
