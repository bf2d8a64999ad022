// The service's sequence models: a sequence bundle that answers alone, and one whose items a click
// bundle ranks.
#include <algorithm>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "serve/service_view.h"

namespace llmcf::serve {

// The bundle that candidates come from, where one is configured. Where it cannot be opened the
// earlier one stays, and the reason is returned, to be thrown when the ranking bundle has its turn.
std::exception_ptr Service::open_candidates() {
  if (first_stage_.candidates.empty()) return nullptr;
  try {
    sequence_ = std::make_shared<const Deployment>(first_stage_.candidates, first_stage_.list);
  } catch (const Error&) {
    if (sequence_ == nullptr) throw;
    return std::current_exception();
  }
  return nullptr;
}

// Puts the sequence bundle, where there is one, in front of a bundle.
void Service::pair(Deployment& ranking) {
  if (sequence_ == nullptr) return;
  const auto candidates = std::make_shared<const Candidates>(ranking.bundle(), sequence_);
  const BundleSpec& spec = sequence_->spec();
  log::info(
      "candidates from bundle {}: {} {}, {} items; {} are not ranked, {} ranked ones not listed",
      sequence_->bundle().version(), spec.backbone, spec.context.kind, spec.items,
      candidates->only_listed(), candidates->only_ranked());
  metrics_.state("candidate_items", static_cast<double>(spec.items));
  metrics_.state("candidate_items_not_ranked", static_cast<double>(candidates->only_listed()));
  metrics_.state("ranked_items_not_candidates", static_cast<double>(candidates->only_ranked()));
  ranking.set_candidates(candidates);
}

// Inner products with the state of the history; minus infinity for what the model does not know.
// REQUIRES: the thread's arena is this request's.
Service::Scored Service::score_by_state(const View& view, std::span<const int32_t> candidates,
                                        float* attention) {
  ScratchArena& arena = arena_of_thread();
  const Deployment& deployment = *view.deployment;
  const auto start = std::chrono::steady_clock::now();
  const HistoryState state =
      state_of(deployment, *view.catalogue, view.known(), view.time, arena, attention);
  Scored scored{.logits = arena.span<float>(static_cast<int64_t>(candidates.size())),
                .products = true,
                .slots = state.slots,
                .history_vector = {},
                .without_examples = state.without_examples};
  std::vector<int32_t> rows(candidates.begin(), candidates.end());
  for (int32_t& row : rows)
    if (view.catalogue->is_added(row)) row = 0;
  deployment.list()->score(state.vector.data(), rows, arena, scored.logits);
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i] == 0) scored.logits[i] = -std::numeric_limits<float>::infinity();
  scored.score_seconds = seconds_since(start);
  if (view.release->role != Role::kShadow)
    count_stages(scored, static_cast<int64_t>(candidates.size()));
  return scored;
}

float Service::without_examples(const View& view, int32_t candidate) {
  ScratchArena& arena = arena_of_thread();
  const Deployment& deployment = *view.deployment;
  const auto vector = arena.span<float>(deployment.sequence()->width());
  deployment.sequence()->state(
      {.catalogue = *view.catalogue, .user = view.user, .history = view.history, .time = view.time},
      arena, vector.data());
  float score = 0;
  deployment.list()->score(vector.data(), {&candidate, 1}, arena, {&score, 1});
  return score;
}

// The best of all items of a sequence bundle that answers alone.
Service::Listed Service::listed_by_state(const View& view, size_t wanted,
                                         std::span<const char> hidden) {
  ScratchArena& arena = arena_of_thread();
  const HistoryState state =
      state_of(*view.deployment, *view.catalogue, view.known(), view.time, arena);
  RankedItems best = view.deployment->list()->best(state.vector.data(),
                                                   static_cast<int64_t>(wanted), hidden, arena);
  Scored scored{.logits = arena.span<float>(static_cast<int64_t>(best.scores.size())),
                .products = true,
                .slots = state.slots,
                .history_vector = {},
                .without_examples = state.without_examples};
  std::copy(best.scores.begin(), best.scores.end(), scored.logits.begin());
  metrics_.candidates(view.deployment->spec().items);
  if (scored.without_examples) metrics_.fallback("no_examples");
  return {.rows = std::move(best.rows), .stage = "sequence", .scored = std::move(scored)};
}

// What is ranked, out of what is not hidden: at least `k` items where there are as many. Where a
// sequence model knows nothing of the history, what anybody is shown; where it lists fewer than k,
// the bundle's own candidates behind them.
Service::Listed Service::first_stage(const View& view, size_t wanted, size_t k,
                                     std::span<const char> hidden) {
  const auto own = [&](size_t count, std::span<const char> left_out) {
    return Listed{.rows = seeds(view, count, left_out),
                  .stage = view.lists_by_similarity() ? "similar" : "popular"};
  };
  const bool alone = view.deployment->sequence() != nullptr;
  if (!alone && view.candidates == nullptr) return own(wanted, hidden);
  if (alone && !view.history.empty()) return listed_by_state(view, wanted, hidden);
  auto rows = alone ? std::nullopt
                    : view.candidates->best(*view.catalogue, view.past, view.time, wanted, hidden,
                                            arena_of_thread());
  if (!rows) {
    metrics_.fallback("no_history");
    return own(wanted, hidden);
  }
  Listed listed{.rows = std::move(*rows), .stage = "sequence"};
  if (listed.rows.size() < k) {
    std::vector<char> taken(hidden.begin(), hidden.end());
    for (const int32_t row : listed.rows)
      taken[static_cast<size_t>(row)] = 1;
    const auto more = own(k - listed.rows.size(), taken).rows;
    listed.rows.insert(listed.rows.end(), more.begin(), more.end());
  }
  return listed;
}

}  // namespace llmcf::serve
