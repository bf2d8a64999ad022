// What service.cc and recommend.cc share: a request's view of what is in service, and small things.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
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

// What a body found when it arrived.
struct Service::Arrival {
  std::shared_ptr<const Lineup> lineup;
  const std::string& id;
};

// Who asks, with what history, of which release.
struct Service::View {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::shared_ptr<Release> release;
  std::shared_ptr<Release> shadow;         // wants a copy; null = none does
  std::shared_ptr<Deployment> deployment;  // the release's
  std::shared_ptr<const Catalogue> catalogue;
  std::shared_ptr<const Candidates> candidates;  // null: from the bundle itself
  Past past;
  int32_t user = 0;
  bool known_user = false;
  std::vector<int32_t> history;  // rows, oldest first
  int64_t unknown_history = 0;
  std::vector<ContextValue> context;  // by field
  std::vector<std::vector<int32_t>> context_ids;
  int64_t time = 0;

  void take(const std::shared_ptr<Release>& from) {
    release = from;
    deployment = {from, &from->deployment};
    catalogue = deployment->catalogue();
    candidates = deployment->candidates();
  }
  // As the bundle knows `past`.
  void know(KnownHistory&& known) {
    user = known.user;
    known_user = known.known_user;
    history = std::move(known.rows);
    unknown_history = known.unknown;
  }
  // Whether the bundle has vectors that its items can be compared with the history by.
  bool lists_by_similarity() const { return !history.empty() && deployment->search() != nullptr; }
  KnownHistory known() const {
    return {.user = user, .known_user = known_user, .rows = history, .unknown = unknown_history};
  }
  // What is missing of the text about the user, where the model reads one: a row of training after
  // as many items would have had a text, or a newer one.
  std::optional<Fallback> text_fallback() const {
    const auto lengths = deployment->bundle().user_text_length();
    if (lengths.empty()) return std::nullopt;
    const int32_t length = lengths[static_cast<size_t>(user)];
    if (length == 0) return Fallback::kNoUserText;
    const auto newest = static_cast<int64_t>(std::bit_floor(history.size()));
    return newest > length ? std::optional(Fallback::kOlderUserText) : std::nullopt;
  }
  Sample sample() const {
    const auto length = static_cast<size_t>(deployment->spec().history_length);
    return {.user = user,
            .history = std::span(history).last(std::min(history.size(), length)),
            .context = context};
  }
};

struct Service::Scored {
  // In the thread's arena. Of a sequence bundle inner products: minus infinity for what it does not
  // know.
  std::span<float> logits;
  bool products = false;
  Slots slots;
  std::vector<float> history_vector;
  double retrieve_seconds = 0, score_seconds = 0;
  bool without_examples = false;

  // As it is shown: null for what has no score.
  Json shown(size_t candidate) const {
    if (!products) return probability(logits[candidate]);
    return std::isfinite(logits[candidate]) ? Json(logits[candidate]) : Json();
  }
};

// What the first stage of a recommendation lists: rows of the catalogue, best first.
struct Service::Listed {
  std::vector<int32_t> rows;
  std::string_view stage;             // sequence, similar, popular: where they come from
  std::optional<Scored> scored = {};  // where the first stage's scores are the model's own
};

}  // namespace llmcf::serve
