// AutoInt as served (models/ctr/autoint.cc): the first layer's queries, keys and values of a field
// are one linear map of it, stored with the item or made once per request; only the context's are
// made per candidate.
#include <fmt/format.h>

#include "core/error.h"
#include "serve/scorer/assembly.h"

namespace llmcf::serve {

namespace {

struct AutoIntRequest : RequestState {
  const float* tower = nullptr;
  Matrix qkv;       // [request fields, 3A]
  Matrix residual;  // [request fields, A]
};

class AutoInt final : public Backbone {
 public:
  explicit AutoInt(const BackboneSource& source)
      : fields_(source.fields),
        context_(source),
        tower_(source.bundle, "backbone.tower",
               fields_.columns(context_.there() ? fields_.dim() : 0), false, true) {
    const Bundle& bundle = source.bundle;
    heads_ = source.options.get<int64_t>("heads", 2);
    width_ = bundle.weight_shape("backbone.embed.weight")[0];
    first_ = Linear(behind_embedding(bundle));
    for (int64_t i = 0; bundle.has_weight(fmt::format("backbone.attention{}.in_weight", i)); ++i) {
      const auto name = fmt::format("backbone.attention{}", i);
      layers_.push_back({.in = Linear(in_of(bundle, name)),
                         .out = Linear(LinearWeights::of(bundle, name + ".out"))});
    }
    if (bundle.has_weight("backbone.residual.weight")) {
      residual_ = Linear(LinearWeights::of(bundle, "backbone.residual"));
      has_residual_ = true;
    }
    const auto head = bundle.weight("backbone.head.weight");
    const auto attention = bundle.weight("backbone.attention_head.weight");
    head_.assign(head.begin(), head.end());
    attention_head_.assign(attention.begin(), attention.end());
    bias_ =
        bundle.weight("backbone.head.bias")[0] + bundle.weight("backbone.attention_head.bias")[0];
    const auto items = static_cast<int64_t>(fields_.item_fields().size());
    tower_at_ = source.layout.add(tower_.first().out());
    qkv_at_ = source.layout.add(items * kernels::padded(3 * width_));
    residual_at_ = source.layout.add(has_residual_ ? items * kernels::padded(width_) : 0);
  }

  void fill_item(float* constants) const override {
    float* values = constants + fields_.fields_at();
    tower_.first().item_half(values, constants + tower_at_);
    const auto items = static_cast<int64_t>(fields_.item_fields().size());
    const Matrix fields{values, items, fields_.dim()};
    first_.apply(fields, {constants + qkv_at_, items, kernels::padded(3 * width_)});
    if (has_residual_)
      residual_.apply(fields, {constants + residual_at_, items, kernels::padded(width_)});
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<AutoIntRequest>(1);
    *state = {};
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    tower_.first().request_half(request.fields, tower);
    state->tower = tower;
    const auto count = static_cast<int64_t>(fields_.request_fields().size());
    const Matrix fields{const_cast<float*>(request.fields), count, fields_.dim()};  // NOLINT: read
    state->qkv = Matrix::make(count, 3 * width_, arena);
    first_.apply(fields, state->qkv);
    if (has_residual_) {
      state->residual = Matrix::make(count, width_, arena);
      residual_.apply(fields, state->residual);
    }
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const AutoIntRequest*>(state);
    const Matrix context = context_.of(block.context, arena);
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena), context,
                     block.count, arena);
    const int64_t F = fields_.fields() + context_.count();
    // Rows of a candidate: its item fields, the request's fields, the context. Attention among
    // fields has no order; the head's weights are looked up by field.
    Matrix qkv = gathered(block, request.qkv, qkv_at_, kernels::padded(3 * width_),
                          of_context(first_, context, arena), arena);
    Matrix mixed = attend(layers_.front(), qkv, F, arena);
    for (size_t l = 1; l < layers_.size(); ++l) {
      qkv = Matrix::make(mixed.count, 3 * width_, arena);
      layers_[l].in.apply(mixed, qkv);
      mixed = attend(layers_[l], qkv, F, arena);
    }
    if (has_residual_) {
      const Matrix residual =
          gathered(block, request.residual, residual_at_, kernels::padded(width_),
                   of_context(residual_, context, arena), arena);
      for (int64_t r = 0; r < mixed.count; ++r)
        kernels::add_scaled(mixed.row(r), residual.row(r), 1, width_);
    }
    for (int64_t i = 0; i < block.count; ++i) {
      logits[i] =
          bias_ + kernels::dot(deep.row(i), head_.data(), static_cast<int64_t>(head_.size()));
      for (int64_t f = 0; f < F; ++f) {
        float* row = mixed.row(i * F + f);
        for (int64_t c = 0; c < width_; ++c)
          row[c] = std::max(row[c], 0.0F);
        logits[i] += kernels::dot(row, attention_head_.data() + field_at(f) * width_, width_);
      }
    }
  }

 private:
  struct Layer {
    Linear in;  // A -> 3A; of the first layer it is merged with the embedding
    Linear out;
  };

  static LinearWeights in_of(const Bundle& bundle, const std::string& name) {
    const auto weight = bundle.weight(name + ".in_weight"), bias = bundle.weight(name + ".in_bias");
    const auto& shape = bundle.weight_shape(name + ".in_weight");
    return {.out = shape[0],
            .in = shape[1],
            .weight = {weight.begin(), weight.end()},
            .bias = {bias.begin(), bias.end()}};
  }

  // The first layer's projection after the embedding D -> A, as one map D -> 3A.
  static LinearWeights behind_embedding(const Bundle& bundle) {
    const LinearWeights embed = LinearWeights::of(bundle, "backbone.embed");
    const LinearWeights in = in_of(bundle, "backbone.attention0");
    LinearWeights both{.out = in.out,
                       .in = embed.in,
                       .weight = std::vector<float>(static_cast<size_t>(in.out * embed.in)),
                       .bias = in.bias};
    for (int64_t o = 0; o < in.out; ++o)
      for (int64_t a = 0; a < in.in; ++a) {
        const float factor = in.weight[static_cast<size_t>(o * in.in + a)];
        kernels::add_scaled(both.weight.data() + o * embed.in, embed.weight.data() + a * embed.in,
                            factor, embed.in);
        both.bias[static_cast<size_t>(o)] += factor * embed.bias[static_cast<size_t>(a)];
      }
    return both;
  }

  Matrix of_context(const Linear& map, const Matrix& context, ScratchArena& arena) const {
    if (!context_.there()) return {};
    const Matrix mapped = Matrix::make(context.count, map.out(), arena);
    map.apply(context, mapped);
    return mapped;
  }

  Matrix gathered(const Block& block, const Matrix& request, int64_t item_at, int64_t stride,
                  const Matrix& context, ScratchArena& arena) const {
    const auto items = static_cast<int64_t>(fields_.item_fields().size());
    const int64_t F = fields_.fields() + context_.count();
    const Matrix rows{arena.floats(block.count * F * stride), block.count * F, stride};
    for (int64_t i = 0; i < block.count; ++i) {
      float* out = rows.row(i * F);
      std::copy_n(block.items[i] + item_at, items * stride, out);
      std::copy_n(request.data, request.count * stride, out + items * stride);
      if (context_.there()) std::copy_n(context.row(i), stride, out + (F - 1) * stride);
    }
    return rows;
  }

  // Which field of the spec (F: the context) row f of a candidate holds.
  int64_t field_at(int64_t row) const {
    const auto items = static_cast<int64_t>(fields_.item_fields().size());
    if (row < items) return fields_.item_fields()[static_cast<size_t>(row)];
    if (row < fields_.fields()) return fields_.request_fields()[static_cast<size_t>(row - items)];
    return row;
  }

  Matrix attend(const Layer& layer, const Matrix& qkv, int64_t fields, ScratchArena& arena) const {
    const Matrix attended = Matrix::make(qkv.count, width_, arena);
    float* weights = arena.floats(heads_ * fields);
    for (int64_t r = 0; r < qkv.count; ++r) {
      const float* base = qkv.row(r / fields * fields);
      kernels::attend({.heads = heads_,
                       .head_dim = width_ / heads_,
                       .query = qkv.row(r),
                       .keys = base + width_,
                       .values = base + 2 * width_,
                       .stride = qkv.stride,
                       .count = fields,
                       .weights = weights,
                       .out = attended.row(r)});
    }
    const Matrix out = Matrix::make(qkv.count, width_, arena);
    layer.out.apply(attended, out);
    return out;
  }

  const FieldPlan& fields_;
  ContextField context_;
  SplitMlp tower_;
  int64_t heads_ = 2, width_ = 0;
  Linear first_, residual_;
  bool has_residual_ = false;
  std::vector<Layer> layers_;
  std::vector<float> head_, attention_head_;
  float bias_ = 0;
  int64_t tower_at_ = 0, qkv_at_ = 0, residual_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_autoint(const BackboneSource& source) {
  return std::make_unique<AutoInt>(source);
}

}  // namespace llmcf::serve
