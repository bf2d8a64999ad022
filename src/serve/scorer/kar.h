// KAR's context as served (nn/kar.h): a hybrid-expert adaptor over two reasoning vectors, one about
// the user, computed once per request, and one about the item, precomputed.
//
// Tensors of the bundle: kar.user f32 [U + 1, W] and kar.user_length i32 [U + 1], the newest text
// about each user and how many items it has seen (row 0 and whoever has no text: zeros, as in
// training); kar.item f32 [I + 1, W], read once when a run is published.
//
// What nothing is known of has a vector of zeros: unknown users, added items.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "serve/scorer/context.h"

namespace llmcf::serve {

// Experts, shared and a vector's own, mixed by a softmax gate.
class KarMixture {
 public:
  KarMixture() = default;
  // `which`: 0 = of users, 1 = of items.
  KarMixture(const Bundle& bundle, int which);

  int64_t in() const { return gate_.in(); }               // W
  int64_t out() const { return experts_.front().out(); }  // d
  // text [W] into out [d].
  void apply(const float* text, float* out, ScratchArena& arena) const;

 private:
  std::vector<MlpLayers> experts_;
  Linear gate_;
};

class KarContext final : public Context {
 public:
  explicit KarContext(const ContextOfSource& source);

  int64_t width() const override { return 2 * user_.out(); }
  // `text`: the item's reasoning vector.
  void fill_item(const float* text, float* constants, ScratchArena& arena) const override {
    item_.apply(text, constants + item_at_, arena);
  }
  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override;
  void compute(const RequestState* state, const ContextBlock& block, ScratchArena& arena,
               const Matrix& out) const override;

 private:
  KarMixture user_, item_;
  int64_t item_at_ = 0;
};

}  // namespace llmcf::serve
