// A click backbone as served: forward only, the item's part of it precomputed, the request's part
// computed once. One file of this directory per backbone; make_backbone() lists them.
//
// Invariant: logits are those of the trained model in evaluation mode, but for the order of sums.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "serve/scorer/fields.h"

namespace llmcf::serve {

// What all candidates of a request share.
struct RequestParts {
  const float* fields = nullptr;  // [request fields, D]
  float first_order = 0;
  const float* history_text = nullptr;    // [M] mapped; null if the context reads none
  const float* const* history = nullptr;  // constants of the last items, oldest first
  int64_t history_count = 0;
  const float* kar = nullptr;  // [W] the user's reasoning vector; null where none is read
};

// Some candidates.
struct Block {
  int64_t count = 0;
  const float* const* items = nullptr;  // their constants
  Matrix context;                       // [count, C]; empty without a context
};

// Kept in the request's arena; a backbone's or context's own.
struct RequestState {};

// What a backbone is made from.
struct BackboneSource {
  const Bundle& bundle;
  const FieldPlan& fields;
  int64_t context_width = 0;  // C
  ItemLayout& layout;
  Config options;  // the backbone's section
};

class Backbone {
 public:
  virtual ~Backbone() = default;

  // The backbone's part of an item's constants; the embedded fields are filled already.
  virtual void fill_item(float* constants) const = 0;
  virtual const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const = 0;
  virtual void score(const RequestState* state, const Block& block, ScratchArena& arena,
                     float* logits) const = 0;
};

std::unique_ptr<Backbone> make_deepfm(const BackboneSource& source);
std::unique_ptr<Backbone> make_xdeepfm(const BackboneSource& source);
std::unique_ptr<Backbone> make_autoint(const BackboneSource& source);
std::unique_ptr<Backbone> make_dcn(const BackboneSource& source);
std::unique_ptr<Backbone> make_dcnv2(const BackboneSource& source);
std::unique_ptr<Backbone> make_din(const BackboneSource& source);

// The names that can be served, sorted.
const std::vector<std::string>& served_backbones();
// Throws Error naming the backbone and those that can be served.
std::unique_ptr<Backbone> make_backbone(const std::string& name, const BackboneSource& source);

}  // namespace llmcf::serve
