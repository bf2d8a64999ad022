// What service.cc and recommend.cc share: a request's view of what is in service, and small things.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/service.h"

namespace llmcf::serve {

inline int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double probability(float logit) {
  return 1 / (1 + std::exp(-static_cast<double>(logit)));
}

inline ScratchArena& arena_of_thread() {
  thread_local ScratchArena arena;
  return arena;
}

// Indices by score, best first; equal scores keep their order.
inline std::vector<int32_t> best_first(std::span<const float> scores, size_t k) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [&](int32_t left, int32_t right) {
    const float l = scores[static_cast<size_t>(left)], r = scores[static_cast<size_t>(right)];
    return l != r ? l > r : left < right;
  };
  const size_t count = std::min(k, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                    better);
  order.resize(count);
  return order;
}

// What was in service when a body arrived: one for all requests of a batch.
struct Service::Arrival {
  std::shared_ptr<Deployment> deployment;
  std::shared_ptr<const Catalogue> catalogue;
};

// Who asks, with what history, of which deployment.
struct Service::View {
  std::shared_ptr<Deployment> deployment;
  std::shared_ptr<const Catalogue> catalogue;
  int32_t user = 0;
  bool known_user = false;
  std::vector<int32_t> history;  // rows, oldest first
  int64_t unknown_history = 0;
  std::vector<ContextValue> context;  // by field
  std::vector<std::vector<int32_t>> context_ids;
  int64_t time = 0;

  Sample sample() const {
    const auto length = static_cast<size_t>(deployment->spec().history_length);
    return {.user = user,
            .history = std::span(history).last(std::min(history.size(), length)),
            .context = context};
  }
};

struct Service::Scored {
  std::span<float> logits;  // in the thread's arena
  Slots slots;
  std::vector<float> history_vector;
  bool without_examples = false;
};

}  // namespace llmcf::serve
