// DeepFM as served (models/ctr/deepfm.cc): the factorisation machine needs per item only the sum
// and the squared length of its field vectors, the tower's first layer is split.
#include "serve/scorer/backbone.h"

namespace llmcf::serve {

namespace {

struct DeepFmRequest : RequestState {
  const float* tower = nullptr;  // the first layer's request half
  const float* sum = nullptr;    // [D] of the request's fields
  float constant = 0;            // bias, first order and -1/2 of the squares
};

class DeepFm final : public Backbone {
 public:
  explicit DeepFm(const BackboneSource& source)
      : fields_(source.fields),
        tower_(source.bundle, "backbone.tower", fields_.columns(source.context_width), false, true),
        bias_(source.bundle.weight("backbone.bias")[0]) {
    const auto head = source.bundle.weight("backbone.head.weight");
    head_.assign(head.begin(), head.end());
    head_bias_ = source.bundle.weight("backbone.head.bias")[0];
    if (source.context_width > 0) {
      const auto linear = source.bundle.weight("backbone.context_linear.weight");
      context_linear_.assign(linear.begin(), linear.end());
    }
    tower_at_ = source.layout.add(tower_.first().out());
    sum_at_ = source.layout.add(fields_.dim());
    square_at_ = source.layout.add(1);
  }

  void fill_item(float* constants) const override {
    const float* values = constants + fields_.fields_at();
    tower_.first().item_half(values, constants + tower_at_);
    constants[square_at_] = sum_up(values, fields_.item_fields().size(), constants + sum_at_);
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<DeepFmRequest>(1);
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    float* sum = arena.floats(fields_.dim());
    tower_.first().request_half(request.fields, tower);
    const float squares = sum_up(request.fields, fields_.request_fields().size(), sum);
    *state = {};
    state->tower = tower;
    state->sum = sum;
    state->constant = request.first_order + bias_ + head_bias_ - 0.5F * squares;
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const DeepFmRequest*>(state);
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena),
                     block.context, block.count, arena);
    const int64_t D = fields_.dim();
    for (int64_t i = 0; i < block.count; ++i) {
      const float* item = block.items[i];
      float square = 0;
      for (int64_t d = 0; d < D; ++d) {
        const float sum = request.sum[d] + item[sum_at_ + d];
        square += sum * sum;
      }
      float logit = request.constant + 0.5F * (square - item[square_at_]) +
                    item[fields_.first_order_at()] +
                    kernels::dot(deep.row(i), head_.data(), static_cast<int64_t>(head_.size()));
      if (!context_linear_.empty())
        logit += kernels::dot(block.context.row(i), context_linear_.data(),
                              static_cast<int64_t>(context_linear_.size()));
      logits[i] = logit;
    }
  }

 private:
  // Sum of vectors into `sum`; returns the sum of their squared lengths.
  float sum_up(const float* values, size_t count, float* sum) const {
    const int64_t D = fields_.dim();
    std::fill_n(sum, D, 0.0F);
    for (size_t f = 0; f < count; ++f)
      kernels::add_scaled(sum, values + static_cast<int64_t>(f) * D, 1, D);
    return kernels::dot(values, values, static_cast<int64_t>(count) * D);
  }

  const FieldPlan& fields_;
  SplitMlp tower_;
  float bias_, head_bias_ = 0;
  std::vector<float> head_, context_linear_;
  int64_t tower_at_ = 0, sum_at_ = 0, square_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_deepfm(const BackboneSource& source) {
  return std::make_unique<DeepFm>(source);
}

}  // namespace llmcf::serve
