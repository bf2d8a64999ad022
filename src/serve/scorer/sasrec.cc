// SASRec as served (models/seq/sasrec.cc): of the last block only the last token is computed, whose
// state is the history's; keys and values are those of all tokens.
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "serve/scorer/sequence_backbone.h"

namespace llmcf::serve {

namespace {

constexpr float kEpsilon = 1e-8F;

// A layer norm of the training model.
struct Norm {
  std::span<const float> weight, bias;

  Norm(const Bundle& bundle, const std::string& name)
      : weight(bundle.weight(name + ".weight")), bias(bundle.weight(name + ".bias")) {}
  Matrix apply(const Matrix& x, ScratchArena& arena) const {
    const auto width = static_cast<int64_t>(weight.size());
    const Matrix y = Matrix::make(x.count, width, arena);
    kernels::layer_norm(x.data, weight.data(), bias.data(), kEpsilon, y.data, x.count, width,
                        x.stride);
    return y;
  }
};

struct Block {
  Norm attention_norm, forward_norm;
  Linear queries, keys_values;  // [D, D] of the normalised tokens, [2 D, D] of the tokens
  Linear out, forward0, forward1;

  Block(const Bundle& bundle, const std::string& name)
      : attention_norm(bundle, name + "_attention_norm"),
        forward_norm(bundle, name + "_forward_norm"),
        out(LinearWeights::of(bundle, name + "_out")),
        forward0(LinearWeights::of(bundle, name + "_forward0")),
        forward1(LinearWeights::of(bundle, name + "_forward1")) {
    const LinearWeights all = LinearWeights::of(bundle, name + "_in");
    queries = part(all, 0, all.in);
    keys_values = part(all, all.in, all.out);
  }

 private:
  // Rows [begin, end) of a layer.
  static Linear part(const LinearWeights& all, int64_t begin, int64_t end) {
    return Linear(
        {.out = end - begin,
         .in = all.in,
         .weight = {all.weight.begin() + begin * all.in, all.weight.begin() + end * all.in},
         .bias = {all.bias.begin() + begin, all.bias.begin() + end}});
  }
};

class Sasrec final : public SequenceBackbone {
 public:
  explicit Sasrec(const SequenceSource& source)
      : width_(source.bundle.spec().embed_dim),
        heads_(source.options.get_int("heads", 2, 1, 64)),
        positions_(source.bundle.weight("backbone.positions")),
        last_norm_(source.bundle, "backbone.last_norm") {
    for (int64_t b = 0; source.bundle.has_weight(fmt::format("backbone.block{}_in.weight", b)); ++b)
      blocks_.emplace_back(source.bundle, fmt::format("backbone.block{}", b));
  }

  SequenceState state(const SequenceTokens& tokens, ScratchArena& arena) const override {
    const int64_t D = width_;
    LLMCF_ASSERT(tokens.count * D <= static_cast<int64_t>(positions_.size()));
    Matrix x = Matrix::make(tokens.count, D, arena);
    const float scale = std::sqrt(static_cast<float>(D));
    for (int64_t t = 0; t < tokens.count; ++t)
      for (int64_t d = 0; d < D; ++d)
        x.row(t)[d] = tokens.items[t][d] * scale + positions_[static_cast<size_t>(t * D + d)];
    for (const Block& block : blocks_)
      x = after(block, x, &block == &blocks_.back() ? tokens.count - 1 : 0, arena);
    const float* state = last_norm_.apply(x, arena).data;
    return {state, state};
  }

 private:
  // Tokens [first, N) behind a block.
  Matrix after(const Block& block, const Matrix& x, int64_t first, ScratchArena& arena) const {
    const int64_t D = width_, count = x.count - first;
    const Matrix read = {x.row(first), count, x.stride};
    const Matrix q = block.attention_norm.apply(read, arena);
    const Matrix queries = Matrix::make(count, D, arena);
    block.queries.apply(q, queries);
    const Matrix keys_values = Matrix::make(x.count, 2 * D, arena);
    block.keys_values.apply(x, keys_values);
    const Matrix attended = Matrix::make(count, D, arena);
    float* weights = arena.floats(heads_ * x.count);
    for (int64_t t = 0; t < count; ++t)
      kernels::attend({.heads = heads_,
                       .head_dim = D / heads_,
                       .query = queries.row(t),
                       .keys = keys_values.data,
                       .values = keys_values.data + D,
                       .stride = keys_values.stride,
                       .count = first + t + 1,
                       .weights = weights,
                       .out = attended.row(t)});
    const Matrix middle = block.forward_norm.apply(sum(block.out, attended, q, arena), arena);
    const Matrix hidden = Matrix::make(count, D, arena);
    block.forward0.apply(middle, hidden, /*relu=*/true);
    return sum(block.forward1, hidden, middle, arena);
  }

  // more + W x + b, row by row.
  static Matrix sum(const Linear& layer, const Matrix& x, const Matrix& more, ScratchArena& arena) {
    const Matrix y = Matrix::make(x.count, layer.out(), arena);
    layer.apply(x, y);
    for (int64_t t = 0; t < x.count; ++t)
      kernels::add_scaled(y.row(t), more.row(t), 1, layer.out());
    return y;
  }

  int64_t width_, heads_;
  std::span<const float> positions_;  // [history_length, D]
  Norm last_norm_;
  std::vector<Block> blocks_;
};

}  // namespace

std::unique_ptr<SequenceBackbone> make_sasrec(const SequenceSource& source) {
  return std::make_unique<Sasrec>(source);
}

}  // namespace llmcf::serve
