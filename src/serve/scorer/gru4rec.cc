// GRU4Rec as served (models/seq/gru4rec.cc): what the gates read of the items is one product for
// all tokens; what they read of the hidden state is one per token.
#include <algorithm>

#include <fmt/format.h>

#include "serve/scorer/sequence_backbone.h"

namespace llmcf::serve {

namespace {

struct Layer {
  kernels::PackedWeights input, hidden;  // [3 D, D]: reset, update, new
};

class Gru4rec final : public SequenceBackbone {
 public:
  explicit Gru4rec(const SequenceSource& source)
      : width_(source.bundle.spec().embed_dim),
        dense_(LinearWeights::of(source.bundle, "backbone.dense")) {
    const Bundle& bundle = source.bundle;
    for (int64_t layer = 0; bundle.has_weight(fmt::format("backbone.input{}", layer)); ++layer) {
      const auto packed = [&](const char* part) {
        return kernels::PackedWeights(
            bundle.weight(fmt::format("backbone.{}{}", part, layer)).data(), 3 * width_, width_);
      };
      layers_.push_back({packed("input"), packed("hidden")});
    }
  }

  SequenceState state(const SequenceTokens& tokens, ScratchArena& arena) const override {
    const Matrix first = Matrix::make(tokens.count, width_, arena);
    for (int64_t t = 0; t < tokens.count; ++t)
      std::copy_n(tokens.items[t], width_, first.row(t));
    Matrix x = first;
    for (const Layer& layer : layers_)
      x = after(layer, x, arena);
    const Matrix state = Matrix::make(1, width_, arena);
    dense_.apply({x.row(x.count - 1), 1, x.stride}, state);
    return {state.data, state.data};
  }

 private:
  // Hidden states of all tokens: [N, D].
  Matrix after(const Layer& layer, const Matrix& x, ScratchArena& arena) const {
    const int64_t D = width_;
    const Matrix gates = Matrix::make(x.count, 3 * D, arena);
    kernels::dense(layer.input, {.count = x.count,
                                 .x = x.data,
                                 .x_stride = x.stride,
                                 .y = gates.data,
                                 .y_stride = gates.stride});
    const Matrix states = Matrix::make(x.count, D, arena);
    const Matrix heard = Matrix::make(1, 3 * D, arena);
    const float* before = arena.zeros(kernels::padded(D));
    for (int64_t t = 0; t < x.count; ++t) {
      kernels::dense(layer.hidden,
                     {.count = 1, .x = before, .y = heard.data, .y_stride = heard.stride});
      float* gate = gates.row(t);
      kernels::add_scaled(gate, heard.data, 1, 2 * D);
      kernels::sigmoid_of(gate, 2 * D);
      float* fresh = gate + 2 * D;
      for (int64_t d = 0; d < D; ++d)
        fresh[d] += gate[d] * heard.data[2 * D + d];
      kernels::tanh_of(fresh, D);
      for (int64_t d = 0; d < D; ++d)
        states.row(t)[d] = fresh[d] + gate[D + d] * (before[d] - fresh[d]);
      before = states.row(t);
    }
    return states;
  }

  int64_t width_;
  std::vector<Layer> layers_;
  Linear dense_;
};

}  // namespace

std::unique_ptr<SequenceBackbone> make_gru4rec(const SequenceSource& source) {
  return std::make_unique<Gru4rec>(source);
}

}  // namespace llmcf::serve
