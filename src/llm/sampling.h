// From logits to a token. No libtorch.
//
// Invariant: what is drawn depends on the logits, the tokens seen, the options and the stream
// alone.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/random.h"

namespace llmcf::llm {

// Applied in this order; the defaults draw from the model's own distribution.
struct SamplingOptions {
  double repetition_penalty = 1;  // > 1: tokens seen before get less likely (Keskar et al., 2019)
  double temperature = 1;         // 0 = the most likely token, whatever the next two say
  int64_t top_k = 0;              // only the k most likely; 0 = all
  double top_p = 1;               // only the fewest whose probabilities sum to p (Holtzman et al.)

  // Throws Error naming the option that is out of range.
  void check() const;
};

// `logits` [V] is changed. `seen` holds ids, with repetitions. Of equal logits the lower id counts
// as the more likely one.
int32_t sample(std::span<float> logits, std::span<const int32_t> seen,
               const SamplingOptions& options, Random& random);

// log softmax(logits)[id].
float log_probability(std::span<const float> logits, int32_t id);
// The n most likely ids with their log probabilities, most likely first.
std::vector<std::pair<int32_t, float>> most_likely(std::span<const float> logits, int64_t n);

// Divides positive logits of seen ids by the penalty and multiplies negative ones.
void penalise(std::span<float> logits, std::span<const int32_t> seen, double penalty);

}  // namespace llmcf::llm
