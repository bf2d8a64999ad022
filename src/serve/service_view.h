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

// Adds a JSON text.
inline void append_text(std::string_view text, std::string& out) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c < 127 && c != '"' && c != '\\';
  });
  if (plain) {
    out += '"';
    out += text;
    out += '"';
  } else {
    out += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

// What a body found when it arrived.
struct Service::Arrival {
  std::shared_ptr<const Lineup> lineup;
  const std::string& id;
};

// Who asks, with what history, of which release.
struct Service::View {
  // An item of the history that the catalogue does not know, and how many known ones precede it.
  struct Missing {
    size_t before = 0;
    std::string name;
  };

  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::shared_ptr<Release> release;
  std::shared_ptr<Release> shadow;         // wants a copy; null = none does
  std::shared_ptr<Deployment> deployment;  // the release's
  std::shared_ptr<const Catalogue> catalogue;
  std::string user_name;  // empty = not named
  int32_t user = 0;
  bool known_user = false;
  std::vector<int32_t> history;  // rows, oldest first
  std::vector<Missing> unknown_history;
  std::vector<ContextValue> context;  // by field
  std::vector<std::vector<int32_t>> context_ids;
  int64_t time = 0;

  void take(const std::shared_ptr<Release>& from) {
    release = from;
    deployment = {from, &from->deployment};
    catalogue = deployment->catalogue();
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
  std::span<float> logits;  // in the thread's arena
  Slots slots;
  std::vector<float> history_vector;
  double retrieve_seconds = 0, score_seconds = 0;
  bool without_examples = false;
};

}  // namespace llmcf::serve
