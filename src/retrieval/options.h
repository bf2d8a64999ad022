// What retrieval does; the `retrieve` section of a run's configuration.
//
//   retrieve:
//     k: 8                  # slots per query (paper: 4)
//     positives: 4          # of them with label 1 (default k / 2); the others have label 0
//     history_weight: 0.5   # a in  score = a h(q).h(c) + (1 - a) t(q).t(c)
//     protocol: strict      # strict | paper: the defaults of what differs below
//     exclude_self: true    # no example of the query's own (user, position)
//     time_safe: true       # example time < query time
//     order: similar_last   # similar_last | similar_first | time | random
//     min_similarity: -2    # examples that score lower are not retrieved
//     normalize: true       # h(q) and h(c) are scaled to unit length (paper: false)
//     collaborative: {weight: 0.5, width: 64, folds: 4}   # see collaborative.h (paper: weight 0)
//     reasons: {weight: 0, of: chosen}   # see reasoned.h; of: chosen | all examples
//     seed: 2023            # of `order: random`
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"

namespace llmcf::retrieval {

// How the slots of one query are ordered. Masked slots come first in all.
enum class Order {
  kSimilarLast,   // least similar first, so that the most similar example stands next to the query
  kSimilarFirst,  // the reverse
  kTime,          // oldest first; of one time, as kSimilarLast
  kRandom,        // shuffled, seeded by (seed, row): the paper's order, made reproducible
};

// Item vectors from the log beside those from the texts; collaborative.h says how.
struct CollaborativeOptions {
  double weight = 0;  // c: their share of every similarity; 0 = text alone
  int64_t width = 64;
  int64_t folds = 4;  // a user is compared by vectors of the other folds' users; 1 = of everybody

  // `weight` is the default of the key.
  static CollaborativeOptions from(const Config& config, double weight);
};

// Item vectors from chains of thought; reasoned.h says how.
struct ReasonOptions {
  double weight = 0;  // their share of every similarity; the log's comes first, texts have the rest
  bool positives_only = true;

  static ReasonOptions from(const Config& config);
};

// The member defaults are the published ones; from() knows the protocols'.
struct RetrievalOptions {
  int64_t k = 4;
  int64_t positives = -1;  // -1 = k / 2, rounded down
  double history_weight = 0.5;
  std::string protocol = "strict";
  // Whatever the switches say, an example of the query's own user at a later position is never
  // eligible: that is the one rule of the public code.
  bool exclude_self = true;  // nor one at the same position (its own row and its siblings)
  // Example time < query time, whoever the user is (times often have day resolution, so ties are
  // excluded); for the query's own user also position < the query's.
  bool time_safe = true;
  Order order = Order::kSimilarLast;
  double min_similarity = -2;  // scores of unit vectors lie in [-1, 1]
  int64_t seed = 2023;
  bool normalize = false;  // history means as unit vectors
  CollaborativeOptions collaborative = {};
  ReasonOptions reasons = {};

  int64_t wanted_positives() const { return positives < 0 ? k / 2 : positives; }
  int64_t wanted_negatives() const { return k - wanted_positives(); }

  // Reads the whole section. `protocol` is the run's; the section's own key overrides it. Throws
  // InputError with file and line.
  static RetrievalOptions from(const Config& config, const std::string& protocol = "strict");
};

}  // namespace llmcf::retrieval
