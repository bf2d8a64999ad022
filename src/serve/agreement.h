// How far two bundles agree about the same candidates.
#pragma once

#include <span>

namespace llmcf::serve {

struct Agreement {
  double difference = 0;  // mean absolute difference of the probabilities
  double overlap = 1;     // share of one's ten best (or all, if fewer) among the other's
  double tau = 1;         // Kendall's tau of the two orders as answers would have them
};

// Logits of the same candidates, in the same order; NaN-free. Of fewer than two candidates tau
// is 1.
Agreement agreement_of(std::span<const float> left, std::span<const float> right);

}  // namespace llmcf::serve
