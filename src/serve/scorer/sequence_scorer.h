// The state of a history as the trained sequence model has it (models/sequence_recommender.h):
// window, backbone, context, fusion. Items are scored by inner product with it (item_list.h).
//
// Invariants:
//  1. States are within 1e-4 of the training model's for the same histories and examples.
//  2. The last history_length items count; an empty history is one token of row 0, so that
//  everybody
//     has a state.
//  3. A history may hold items that were added while serving: the model knows nothing of them, and
//     they are left out.
//
// Thread safety: const; every thread has an arena of its own.
//
//   D embedding width   K slots   W width of texts   d token width
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "serve/example_search.h"
#include "serve/scorer/context.h"
#include "serve/scorer/sequence_backbone.h"

namespace llmcf::serve {

// One user at one moment.
struct HistoryInput {
  const Catalogue& catalogue;
  int32_t user = 0;                  // of the bundle; 0 = unknown
  std::span<const int32_t> history;  // rows of the catalogue, oldest first, of any length
  const Slots* slots = nullptr;      // of one candidate; null: no examples
  int64_t time = 0;                  // now, Unix seconds: what ages of examples are counted from
  // Wanted by explain: [K] attention of the last layer to each slot; null = not wanted.
  float* attention = nullptr;
};

class SequenceScorer {
 public:
  // Throws Error naming what cannot be served.
  explicit SequenceScorer(std::shared_ptr<const Bundle> bundle);
  ~SequenceScorer();

  int64_t width() const { return width_; }  // D
  // Whether states depend on examples, which `slots` then are.
  bool reads_examples() const;
  // Into `out` [D].
  void state(const HistoryInput& input, ScratchArena& arena, float* out) const;

  const Context* context() const { return context_.get(); }
  // The feature token of an example [d]: what the bundle's tensor examples.feature holds.
  void example_token(const HistoryInput& example, int32_t item, ScratchArena& arena,
                     float* out) const;

 private:
  // The last items that count and that the model knows.
  std::span<const int32_t> window(const HistoryInput& input, ScratchArena& arena) const;
  SequenceState backbone_state(int32_t user, std::span<const int32_t> window,
                               ScratchArena& arena) const;
  RequestParts parts(const HistoryInput& input, std::span<const int32_t> window,
                     const float* summary, ScratchArena& arena) const;
  const float* context_of(const HistoryInput& input, const RequestParts& parts,
                          ScratchArena& arena) const;
  void fuse(const float* state, const float* context, ScratchArena& arena, float* out) const;

  std::shared_ptr<const Bundle> bundle_;
  ItemLayout layout_;
  FieldPlan fields_;
  std::unique_ptr<Context> context_;  // null without a context
  std::unique_ptr<SequenceBackbone> backbone_;
  int64_t width_ = 0;
  bool user_ids_ = false;
  float context_weight_ = 0;
  std::span<const float> items_, users_;  // tables; users: empty where the model has none
  std::vector<float> unknown_target_;     // constants of row 0, which a query's target is
  Linear fusion0_, fusion1_;              // concat
  bool concat_fusion_ = false;
};

}  // namespace llmcf::serve
