// The examples of the pool for one request: exact, label-balanced, for many candidates of one user
// at once. Online every example is older than the request, so all are eligible.
//
//   score(q, i, c) = a h(q).h(c) + (1 - a) t(i).t(c)
//
// h(q) comes once per request: one scan over the pool in half precision. t(i).t(c) is static: the
// bundle holds, for every item and label, the most similar items that the label's examples are
// about ("groups", with their examples). A candidate's best are found by the threshold algorithm
// (Fagin, Lotem, Naor, "Optimal aggregation algorithms for middleware", PODS 2001): the request's
// groups with the best h(q).h(c), with t(i).t(c) in one matrix product for all candidates, then the
// candidate's static list from the top, then further groups of the request, until nothing that is
// left can reach the worst of the best. In the limit that is a full scan. What might be best by
// half-precision scores, with their error bound, is scored again in single precision.
//
// Invariants:
//  1. Ids, order and scores are those of retrieval::Searcher with a time after every example: ties
//     are broken by time (later first), then by id (lower first). Where the bundle's examples lie
//     in cells (history_scan.h) some examples may be missed: a candidate's static list is not
//     followed by further groups then; scores are exact still.
//  2. Nothing is allocated once a thread has seen a request as large.
//
//   C candidates   K slots   N examples   V width   G groups of a label
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "serve/arena.h"
#include "serve/bundle.h"
#include "serve/catalogue.h"

namespace llmcf::serve {

struct FoundExample;

// What retrieval gives a request; all in the arena, row-major.
struct Slots {
  int64_t candidates = 0, k = 0;
  int32_t* ids = nullptr;               // [C, K] -1 = masked; masked ones first
  float* similarity = nullptr;          // [C, K]
  float* history_similarity = nullptr;  // [C, K] h(q).h(c)
  float* target_similarity = nullptr;   // [C, K] t(i).t(c)
  float* alignment = nullptr;           // [C] h(q).t(i)

  static Slots make(int64_t candidates, int64_t k, ScratchArena& arena);
};

// What a search did, for benchmarks and metrics.
struct SearchCost {
  int64_t open_after_lists = 0;  // (candidate, label) pairs that the static lists did not close
  int64_t products = 0;          // t(i).t(c) that were computed
  int64_t rescored = 0;          // (example, label) pairs with exact h(q).h(c)
  double scan_seconds = 0, list_seconds = 0, walk_seconds = 0, score_seconds = 0;
};

class ExampleSearch {
 public:
  // The views stay valid as long as the bundle. Throws InputError on tensors that do not fit.
  explicit ExampleSearch(const Bundle& bundle);
  ~ExampleSearch();

  // The set of vectors a user is compared by; 0 for unknown users.
  int64_t fold_of(int32_t user) const;
  // h(q) of a history of item rows into out [V]: their mean, of unit length where the run says so.
  void history_vector(const Catalogue& catalogue, int64_t fold, std::span<const int32_t> history,
                      float* out) const;
  // `history` [V]. Fills `slots`, made for the candidates.
  void search(const Catalogue& catalogue, int64_t fold, const float* history,
              std::span<const int32_t> candidates, ScratchArena& arena, Slots& slots,
              SearchCost* cost = nullptr) const;
  // Only slots.alignment.
  void align(const Catalogue& catalogue, int64_t fold, const float* history,
             std::span<const int32_t> candidates, Slots& slots) const;
  // The static lists of an item with these vectors, by [fold * 2 + label].
  std::vector<AddedItem::List> lists_for(const std::vector<std::vector<float>>& vectors) const;

 private:
  struct Label;
  struct Fold;
  class Walk;

  bool better(const Label& label, const FoundExample& left, const FoundExample& right) const;

  int64_t width_ = 0, examples_ = 0, longest_ = 0;
  retrieval::RetrievalOptions options_;
  std::span<const int32_t> user_fold_;
  std::span<const int64_t> time_;
  std::vector<Label> labels_;  // those that slots are wanted of; positives first
  std::vector<Fold> folds_;
};

}  // namespace llmcf::serve
