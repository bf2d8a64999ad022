// DCN as served (models/ctr/dcn.cc): the cross network is one product of x_0 with all its weights,
// split like the tower's first layer, and a few numbers per candidate.
#include "serve/scorer/backbone.h"

namespace llmcf::serve {

namespace {

struct DcnRequest : RequestState {
  const float* tower = nullptr;
  const float* cross = nullptr;
};

class Dcn final : public Backbone {
 public:
  explicit Dcn(const BackboneSource& source)
      : tower_(source.bundle, "backbone.tower", source.fields.columns(source.context_width), true,
               true) {
    const Bundle& bundle = source.bundle;
    if (bundle.has_weight("backbone.context_weight")) {
      const auto weight = bundle.weight("backbone.context_weight");
      const auto bias = bundle.weight("backbone.context_bias");
      context_ = Linear({.out = source.context_width,
                         .in = source.context_width,
                         .weight = {weight.begin(), weight.end()},
                         .bias = {bias.begin(), bias.end()}});
      maps_context_ = true;
    }
    const auto weight = bundle.weight("backbone.cross_weight");
    const auto bias = bundle.weight("backbone.cross_bias");
    const auto head = bundle.weight("backbone.head.weight");
    layers_ = bundle.weight_shape("backbone.cross_weight")[0];
    const int64_t d = bundle.weight_shape("backbone.cross_weight")[1];
    // What reads x_0: the cross weights, then the head's part of x_L.
    LinearWeights readers{.out = layers_ + 1,
                          .in = d,
                          .weight = {weight.begin(), weight.end()},
                          .bias = std::vector<float>(static_cast<size_t>(layers_ + 1))};
    readers.weight.insert(readers.weight.end(), head.begin(), head.begin() + d);
    cross_ = SplitLinear(readers, source.fields.columns(source.context_width));
    std::vector<float> constant(static_cast<size_t>(d));
    for (int64_t l = 1; l <= layers_; ++l) {
      for (int64_t i = 0; i < d; ++i)
        constant[static_cast<size_t>(i)] += bias[static_cast<size_t>((l - 1) * d + i)];
      constants_.push_back(kernels::dot(constant.data(), readers.weight.data() + l * d, d));
    }
    head_.assign(head.begin() + d, head.end());
    head_bias_ = bundle.weight("backbone.head.bias")[0];
    fields_at_ = source.fields.fields_at();
    tower_at_ = source.layout.add(tower_.first().out());
    cross_at_ = source.layout.add(cross_.out());
  }

  void fill_item(float* constants) const override {
    tower_.first().item_half(constants + fields_at_, constants + tower_at_);
    cross_.item_half(constants + fields_at_, constants + cross_at_);
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<DcnRequest>(1);
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    float* cross = arena.floats(kernels::padded(cross_.out()));
    tower_.first().request_half(request.fields, tower);
    cross_.request_half(request.fields, cross);
    *state = {};
    state->tower = tower;
    state->cross = cross;
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const DcnRequest*>(state);
    Matrix context = block.context;
    if (maps_context_) {
      context = Matrix::make(block.count, context_.out(), arena);
      context_.apply(block.context, context);
      kernels::gelu(context.data, context.count * context.stride);
    }
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena), context,
                     block.count, arena);
    const Matrix products = Matrix::make(block.count, cross_.out(), arena);
    cross_.apply(request.cross, at_offset(block.items, block.count, cross_at_, arena), context,
                 products, false);
    for (int64_t i = 0; i < block.count; ++i) {
      const float* product = products.row(i);
      float scale = product[0] + 1;
      for (int64_t l = 1; l < layers_; ++l)
        scale += scale * product[l] + constants_[static_cast<size_t>(l - 1)];
      logits[i] = scale * product[layers_] + constants_.back() + head_bias_ +
                  kernels::dot(deep.row(i), head_.data(), static_cast<int64_t>(head_.size()));
    }
  }

 private:
  SplitMlp tower_;
  SplitLinear cross_;
  Linear context_;
  bool maps_context_ = false;
  int64_t layers_ = 0;
  std::vector<float> constants_;  // c_l . reader l, l = 1 ... L
  std::vector<float> head_;
  float head_bias_ = 0;
  int64_t fields_at_ = 0, tower_at_ = 0, cross_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_dcn(const BackboneSource& source) {
  return std::make_unique<Dcn>(source);
}

}  // namespace llmcf::serve
