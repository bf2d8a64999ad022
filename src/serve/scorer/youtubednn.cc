// YoutubeDNN as served (models/seq/youtubednn.cc): the mean of the history, behind the user's
// vector where the model has one, through three layers. A context reads the mean.
#include <algorithm>

#include "serve/scorer/sequence_backbone.h"

namespace llmcf::serve {

namespace {

class Youtubednn final : public SequenceBackbone {
 public:
  explicit Youtubednn(const SequenceSource& source)
      : width_(source.bundle.spec().embed_dim),
        dense0_(LinearWeights::of(source.bundle, "backbone.dense0")),
        dense1_(LinearWeights::of(source.bundle, "backbone.dense1")),
        dense2_(LinearWeights::of(source.bundle, "backbone.dense2")) {}

  SequenceState state(const SequenceTokens& tokens, ScratchArena& arena) const override {
    const int64_t D = width_, before = tokens.user == nullptr ? 0 : D;
    const Matrix x = Matrix::make(1, before + D, arena);
    std::copy_n(tokens.user, before, x.data);
    float* mean = x.data + before;
    std::fill_n(mean, D, 0.0F);
    const float share = 1.0F / static_cast<float>(tokens.count);
    for (int64_t t = 0; t < tokens.count; ++t)
      kernels::add_scaled(mean, tokens.items[t], share, D);
    const Matrix first = Matrix::make(1, D, arena), second = Matrix::make(1, D, arena),
                 state = Matrix::make(1, D, arena);
    dense0_.apply(x, first, /*relu=*/true);
    dense1_.apply(first, second, /*relu=*/true);
    dense2_.apply(second, state);
    return {state.data, mean};
  }

 private:
  int64_t width_;
  Linear dense0_, dense1_, dense2_;
};

}  // namespace

std::unique_ptr<SequenceBackbone> make_youtubednn(const SequenceSource& source) {
  return std::make_unique<Youtubednn>(source);
}

}  // namespace llmcf::serve
