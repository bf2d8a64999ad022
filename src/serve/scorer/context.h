// Where a candidate's context vector comes from, as served (models/context_source.h): forward only,
// from what is precomputed per item and per example.
//
// Tensors of the bundle that a context precomputes (prepare.h): examples.feature and
// examples.mapped_cot, f32 [N, d].
//
//   C context width   d token width   K slots   G slot features
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "serve/example_search.h"
#include "serve/scorer/backbone.h"

namespace llmcf::serve {

// Some candidates and what retrieval knows of them.
struct ContextBlock {
  int64_t count = 0;
  const float* const* items = nullptr;     // their constants
  const int32_t* const* slots = nullptr;   // [K] examples of each, masked ones (-1) first
  const float* const* evidence = nullptr;  // [K, G] slot features of each; null unless read
  int64_t k = 0;
  // Wanted by explain: how much the last layer's query looks at each slot, mean over heads, [K]
  // each; null = not wanted.
  float* const* attention = nullptr;
};

struct ContextOfSource {
  const Bundle& bundle;
  const FieldPlan& fields;
  ItemLayout& layout;
};

class Context {
 public:
  virtual ~Context() = default;

  virtual int64_t width() const = 0;  // C
  // The context's part of an item's constants. `text` [W]: what the context reads about an item,
  // its frozen text or (KAR) the reasoning about it; may be null where the model has none.
  virtual void fill_item(const float* text, float* constants, ScratchArena& arena) const = 0;
  virtual const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const = 0;
  // Into `out` [count, C].
  virtual void compute(const RequestState* state, const ContextBlock& block, ScratchArena& arena,
                       const Matrix& out) const = 0;

  // A frozen text [W] as the model's parts have it [M]; M = 0 without.
  virtual int64_t text_width() const { return 0; }
  virtual void map_text(const float*, float*, ScratchArena&) const {}
  // The feature token of a sample [d]: what examples.feature holds.
  virtual void token(const RequestState*, const float*, float*, ScratchArena&) const {}
};

// Null for kind none. Throws Error naming the kind if it cannot be served.
std::unique_ptr<Context> make_context(const ContextOfSource& source);

}  // namespace llmcf::serve
