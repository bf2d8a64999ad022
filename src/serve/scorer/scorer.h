// Scores candidates as the trained model would: embedded fields, context, backbone, each from what
// the bundle precomputed, candidates in blocks that stay in the cache.
//
// Invariants:
//  1. Logits are within 1e-4 of the training model's for the same rows and examples.
//  2. Nothing is allocated once a thread's arena has seen a request as large.
//
// Thread safety: const; every thread has an arena of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "serve/example_search.h"
#include "serve/scorer/context.h"

namespace llmcf::serve {

// One user at one moment and the items to be scored.
struct ScoreInput {
  const Catalogue& catalogue;
  Sample sample;
  std::span<const int32_t> candidates;  // rows of the catalogue
  const Slots* slots = nullptr;         // null: no examples, no alignment
  int64_t time = 0;                     // now, Unix seconds: what ages of examples are counted from
  // Wanted by explain: [C, K] attention of the last layer to each slot; null = not wanted.
  float* attention = nullptr;
};

// For benchmarks and metrics.
struct ScoreCost {
  double request_seconds = 0, evidence_seconds = 0, context_seconds = 0, backbone_seconds = 0;
  int64_t distinct_examples = 0;  // different sets of examples among the candidates
};

class Scorer {
 public:
  // Throws Error naming what cannot be served.
  explicit Scorer(std::shared_ptr<const Bundle> bundle);

  void score(const ScoreInput& input, ScratchArena& arena, std::span<float> logits,
             ScoreCost* cost = nullptr) const;

  int64_t item_width() const { return layout_.width(); }  // of a row of constants
  // The constants of an item [item_width()]; overwrites all of them.
  void fill_item(const Catalogue& catalogue, int32_t row, float* constants,
                 ScratchArena& arena) const;
  const Context* context() const { return context_.get(); }
  // What all candidates of a sample share, in the arena.
  RequestParts request_parts(const Catalogue& catalogue, const Sample& sample,
                             ScratchArena& arena) const;

 private:
  struct Order;
  void write_evidence(const ScoreInput& input, const int32_t* order, int64_t count,
                      float* out) const;
  void finish_context(const ScoreInput& input, const int32_t* order, const Matrix& context) const;
  int64_t sort_by_examples(const ScoreInput& input, ScratchArena& arena, int32_t* order) const;
  // What the context reads about an item; null where it reads nothing.
  const float* text_of(const Catalogue& catalogue, int32_t row) const;
  void score_block(const ScoreInput& input, const RequestState* backbone,
                   const RequestState* context, std::span<const int32_t> order, ScratchArena& arena,
                   std::span<float> logits, ScoreCost& cost) const;

  std::shared_ptr<const Bundle> bundle_;
  ItemLayout layout_;
  FieldPlan fields_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<Backbone> backbone_;
  std::vector<int> shared_fields_;  // item fields whose values examples are compared by
  std::vector<float> alignment_;    // [C, 2]
  std::vector<float> gate_;         // weights, then the bias
  int64_t slot_features_ = 0;       // G; 0 = the context reads none
  // KAR's vectors, [U + 1, W] and (only while publishing) [I + 1, W]; empty without.
  std::span<const float> kar_users_, kar_items_;
  std::vector<float> kar_none_;  // [W] zeros: nothing is known
};

}  // namespace llmcf::serve
