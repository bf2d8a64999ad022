// DCNv2 as served (models/ctr/dcnv2.cc): the tower's first layer is split; the mixture of low-rank
// cross layers reads whole rows, which it needs for its products anyway.
#include "serve/scorer/assembly.h"

namespace llmcf::serve {

namespace {

struct DcnV2Request : RequestState {
  const float* tower = nullptr;
  const float* fields = nullptr;
};

class DcnV2 final : public Backbone {
 public:
  explicit DcnV2(const BackboneSource& source)
      : fields_(source.fields),
        tower_(source.bundle, "backbone.tower", fields_.columns(source.context_width), true, true),
        gate_(LinearWeights::of(source.bundle, "backbone.gate")) {
    const Bundle& bundle = source.bundle;
    const auto& shape = bundle.weight_shape("backbone.c");  // [L, E, r, r]
    const int64_t layers = shape[0];
    experts_ = shape[1];
    rank_ = shape[2];
    width_ = bundle.weight_shape("backbone.u")[1];
    const int64_t inner = experts_ * rank_;
    const auto u = bundle.weight("backbone.u"), v = bundle.weight("backbone.v");
    const auto c = bundle.weight("backbone.c"), bias = bundle.weight("backbone.cross_bias");
    for (int64_t l = 0; l < layers; ++l) {
      const auto part = [l](std::span<const float> all, int64_t size) {
        return all.subspan(static_cast<size_t>(l * size), static_cast<size_t>(size));
      };
      Layer& layer = layers_.emplace_back();
      layer.inwards = kernels::PackedWeights(part(v, inner * width_).data(), inner, width_);
      const auto outwards = part(u, width_ * inner), constant = part(bias, width_);
      layer.outwards = Linear({.out = width_,
                               .in = inner,
                               .weight = {outwards.begin(), outwards.end()},
                               .bias = {constant.begin(), constant.end()}});
      const auto mixing = part(c, experts_ * rank_ * rank_);
      layer.mixing.assign(mixing.begin(), mixing.end());
    }
    const auto head = bundle.weight("backbone.head.weight");
    head_.assign(head.begin(), head.end());
    head_bias_ = bundle.weight("backbone.head.bias")[0];
    tower_at_ = source.layout.add(tower_.first().out());
  }

  void fill_item(float* constants) const override {
    tower_.first().item_half(constants + fields_.fields_at(), constants + tower_at_);
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<DcnV2Request>(1);
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    tower_.first().request_half(request.fields, tower);
    *state = {};
    state->tower = tower;
    state->fields = request.fields;
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const DcnV2Request*>(state);
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena),
                     block.context, block.count, arena);
    const Matrix x0 = Matrix::make(block.count, width_, arena);
    const int64_t flat = fields_.fields() * fields_.dim();
    for (int64_t i = 0; i < block.count; ++i) {
      write_fields(fields_, request.fields, block.items[i], x0.row(i));
      if (width_ > flat) std::copy_n(block.context.row(i), width_ - flat, x0.row(i) + flat);
    }
    Matrix x = x0;
    for (const Layer& layer : layers_)
      x = cross(layer, x0, x, arena);
    for (int64_t i = 0; i < block.count; ++i)
      logits[i] = head_bias_ + kernels::dot(x.row(i), head_.data(), width_) +
                  kernels::dot(deep.row(i), head_.data() + width_,
                               static_cast<int64_t>(head_.size()) - width_);
  }

 private:
  struct Layer {
    kernels::PackedWeights inwards;  // d -> E r
    Linear outwards;                 // E r -> d
    std::vector<float> mixing;       // [E, r, r]
  };

  // x + x0 * sum_e g_e (U_e tanh(C_e tanh(V_e x)) + b)
  Matrix cross(const Layer& layer, const Matrix& x0, const Matrix& x, ScratchArena& arena) const {
    const int64_t inner = experts_ * rank_;
    const Matrix first = Matrix::make(x.count, inner, arena);
    kernels::dense(layer.inwards, {.count = x.count,
                                   .x = x.data,
                                   .x_stride = x.stride,
                                   .y = first.data,
                                   .y_stride = first.stride});
    kernels::tanh_of(first.data, first.count * first.stride);
    const Matrix gates = Matrix::make(x.count, experts_, arena);
    gate_.apply(x, gates);
    const Matrix mixed = Matrix::make(x.count, inner, arena);
    for (int64_t i = 0; i < x.count; ++i)
      for (int64_t e = 0; e < experts_; ++e)
        for (int64_t r = 0; r < rank_; ++r)
          mixed.row(i)[e * rank_ + r] = kernels::dot(
              first.row(i) + e * rank_, layer.mixing.data() + (e * rank_ + r) * rank_, rank_);
    for (int64_t i = 0; i < x.count; ++i) {
      kernels::tanh_of(mixed.row(i), inner);
      kernels::softmax(gates.row(i), experts_);
      for (int64_t e = 0; e < experts_; ++e)
        for (int64_t r = 0; r < rank_; ++r)
          mixed.row(i)[e * rank_ + r] *= gates.row(i)[e];
    }
    const Matrix y = Matrix::make(x.count, width_, arena);
    layer.outwards.apply(mixed, y);
    for (int64_t i = 0; i < x.count; ++i)
      for (int64_t d = 0; d < width_; ++d)
        y.row(i)[d] = x.row(i)[d] + x0.row(i)[d] * y.row(i)[d];
    return y;
  }

  const FieldPlan& fields_;
  SplitMlp tower_;
  Linear gate_;
  std::vector<Layer> layers_;
  int64_t experts_ = 0, rank_ = 0, width_ = 0;
  std::vector<float> head_;  // reads [x_L, deep]
  float head_bias_ = 0;
  int64_t tower_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_dcnv2(const BackboneSource& source) {
  return std::make_unique<DcnV2>(source);
}

}  // namespace llmcf::serve
