// Reads RetrievalOptions.
#include "retrieval/options.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace llmcf::retrieval {

namespace {

// In the order of Order.
const std::vector<std::string> kOrders = {"similar_last", "similar_first", "time", "random"};

}  // namespace

CollaborativeOptions CollaborativeOptions::from(const Config& config, double weight) {
  CollaborativeOptions options;
  options.weight = config.get_number("weight", weight, 0, 1);
  options.width = config.get_int("width", options.width, 1, 4096);
  options.folds = config.get_int("folds", options.folds, 1, 64);
  config.finish();
  return options;
}

ReasonOptions ReasonOptions::from(const Config& config) {
  ReasonOptions options;
  options.weight = config.get_number("weight", options.weight, 0, 1);
  options.positives_only = config.get_choice("of", "chosen", {"chosen", "all"}) == "chosen";
  config.finish();
  return options;
}

RetrievalOptions RetrievalOptions::from(const Config& config, const std::string& protocol) {
  RetrievalOptions options;
  options.protocol = config.get_choice("protocol", protocol, {"strict", "paper"});
  const bool strict = options.protocol == "strict";
  options.k = config.get_int("k", strict ? 8 : 4, 1, 1024);
  options.positives = config.get_int("positives", options.positives, -1, options.k);
  options.history_weight = config.get_number("history_weight", options.history_weight, 0, 1);
  options.exclude_self = config.get<bool>("exclude_self", strict);
  options.time_safe = config.get<bool>("time_safe", strict);
  const std::string order = config.get_choice("order", strict ? "similar_last" : "random", kOrders);
  options.order =
      static_cast<Order>(std::find(kOrders.begin(), kOrders.end(), order) - kOrders.begin());
  options.min_similarity = config.get_number("min_similarity", options.min_similarity, -2, 1);
  options.seed = config.get_int("seed", options.seed, 0, std::numeric_limits<int64_t>::max());
  options.normalize = config.get<bool>("normalize", strict);
  options.collaborative =
      CollaborativeOptions::from(config.section("collaborative"), strict ? 0.5 : 0);
  options.reasons = ReasonOptions::from(config.section("reasons"));
  if (options.collaborative.weight + options.reasons.weight > 1)
    config.fail("reasons", "its weight and the weight of 'collaborative' sum to more than 1");
  config.finish();
  return options;
}

}  // namespace llmcf::retrieval
