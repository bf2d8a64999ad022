#include "llm/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::llm {

namespace {

double log_sum_exp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits)
    sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

// The first n ids by descending logit, ties by id.
std::vector<int32_t> ordered(std::span<const float> logits, size_t n) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  n = std::min(n, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(n), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)];
                      const float y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  ids.resize(n);
  return ids;
}

}  // namespace

void SamplingOptions::check() const {
  if (!(temperature >= 0 && temperature <= 100))
    throw Error(fmt::format("temperature is {}, expected 0 to 100", temperature));
  if (top_k < 0) throw Error(fmt::format("top_k is {}, expected 0 (all) or more", top_k));
  if (!(top_p > 0 && top_p <= 1))
    throw Error(fmt::format("top_p is {}, expected more than 0 and at most 1", top_p));
  if (!(repetition_penalty > 0 && repetition_penalty <= 100))
    throw Error(fmt::format("repetition_penalty is {}, expected more than 0 and at most 100",
                            repetition_penalty));
}

void penalise(std::span<float> logits, std::span<const int32_t> seen, double penalty) {
  if (penalty == 1) return;
  std::vector<int32_t> distinct(seen.begin(), seen.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (const int32_t id : distinct) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
}

int32_t sample(std::span<float> logits, std::span<const int32_t> seen,
               const SamplingOptions& options, Random& random) {
  penalise(logits, seen, options.repetition_penalty);
  if (options.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const double u = random.uniform();  // one number per token, whatever is kept
  for (float& logit : logits)
    logit = static_cast<float>(logit / options.temperature);
  const size_t kept = options.top_k == 0 ? logits.size() : static_cast<size_t>(options.top_k);
  const std::vector<int32_t> ids = ordered(logits, kept);
  const float largest = logits[static_cast<size_t>(ids[0])];
  std::vector<double> running;  // sums of weights
  double total = 0;
  for (const int32_t id : ids) {
    total += std::exp(static_cast<double>(logits[static_cast<size_t>(id)]) - largest);
    running.push_back(total);
  }
  const auto enough = std::lower_bound(running.begin(), running.end(), options.top_p * total);
  const auto last = std::min(enough, running.end() - 1);
  const auto drawn = std::upper_bound(running.begin(), last, u * *last);
  return ids[static_cast<size_t>(drawn - running.begin())];
}

float log_probability(std::span<const float> logits, int32_t id) {
  return static_cast<float>(logits[static_cast<size_t>(id)] - log_sum_exp(logits));
}

std::vector<std::pair<int32_t, float>> most_likely(std::span<const float> logits, int64_t n) {
  const double all = log_sum_exp(logits);
  std::vector<std::pair<int32_t, float>> result;
  for (const int32_t id : ordered(logits, static_cast<size_t>(n)))
    result.emplace_back(id, static_cast<float>(logits[static_cast<size_t>(id)] - all));
  return result;
}

}  // namespace llmcf::llm
