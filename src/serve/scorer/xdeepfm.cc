// xDeepFM as served (models/ctr/xdeepfm.cc): the tower's first layer is split; the compressed
// interaction network runs over few candidates at a time, whose products stay in the cache.
#include <fmt/format.h>

#include "serve/scorer/assembly.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kTogether = 8;  // candidates whose products are made at once

struct XDeepFmRequest : RequestState {
  const float* tower = nullptr;
  const float* fields = nullptr;
  float constant = 0;
};

class XDeepFm final : public Backbone {
 public:
  explicit XDeepFm(const BackboneSource& source)
      : fields_(source.fields),
        context_(source),
        tower_(source.bundle, "backbone.tower",
               fields_.columns(context_.there() ? fields_.dim() : 0), false,
               source.options.get<bool>("relu_on_logit", source.bundle.spec().paper)),
        bias_(source.bundle.weight("backbone.bias")[0]) {
    const Bundle& bundle = source.bundle;
    const bool direct = source.options.get<bool>("direct", false);
    for (int64_t i = 0; bundle.has_weight(fmt::format("backbone.cin{}.weight", i)); ++i)
      layers_.push_back({.map = Linear(LinearWeights::of(bundle, fmt::format("backbone.cin{}", i))),
                         .handed_on = 0,
                         .pooled_from = 0});
    for (size_t i = 0; i + 1 < layers_.size(); ++i) {
      const int64_t maps = layers_[i].map.out();
      layers_[i].handed_on = direct ? maps : maps / 2;
      layers_[i].pooled_from = direct ? 0 : maps / 2;
    }
    const auto head = bundle.weight("backbone.cin_head.weight");
    cin_head_.assign(head.begin(), head.end());
    cin_bias_ = bundle.weight("backbone.cin_head.bias")[0];
    if (context_.there()) {
      const auto linear = bundle.weight("backbone.context_linear.weight");
      context_linear_.assign(linear.begin(), linear.end());
    }
    tower_at_ = source.layout.add(tower_.first().out());
  }

  void fill_item(float* constants) const override {
    tower_.first().item_half(constants + fields_.fields_at(), constants + tower_at_);
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<XDeepFmRequest>(1);
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    tower_.first().request_half(request.fields, tower);
    *state = {};
    state->tower = tower;
    state->fields = request.fields;
    state->constant = request.first_order + bias_ + cin_bias_;
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const XDeepFmRequest*>(state);
    const Matrix context = context_.of(block.context, arena);
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena), context,
                     block.count, arena);
    for (int64_t i = 0; i < block.count; ++i) {
      logits[i] = request.constant + block.items[i][fields_.first_order_at()] + deep.row(i)[0];
      if (!context_linear_.empty())
        logits[i] += kernels::dot(block.context.row(i), context_linear_.data(),
                                  static_cast<int64_t>(context_linear_.size()));
    }
    for (int64_t begin = 0; begin < block.count; begin += kTogether)
      add_interactions(request, block, context, begin, std::min(kTogether, block.count - begin),
                       arena, logits);
  }

 private:
  struct Layer {
    Linear map;  // F * H -> O
    int64_t handed_on = 0, pooled_from = 0;
  };

  // Rows are (candidate, dimension): x [rows, F], products of field 0 first.
  void add_interactions(const XDeepFmRequest& request, const Block& block, const Matrix& context,
                        int64_t begin, int64_t count, ScratchArena& arena, float* logits) const {
    const ScratchArena::Scope scope(arena);
    const int64_t D = fields_.dim(), F = fields_.fields() + context_.count(), rows = count * D;
    const Matrix x = Matrix::make(rows, F, arena);
    float* all = arena.floats(F * D);
    for (int64_t i = 0; i < count; ++i) {
      write_fields(fields_, request.fields, block.items[begin + i], all);
      if (context_.there()) std::copy_n(context.row(begin + i), D, all + (F - 1) * D);
      for (int64_t d = 0; d < D; ++d)
        for (int64_t f = 0; f < F; ++f)
          x.row(i * D + d)[f] = all[f * D + d];
    }
    Matrix maps = x;
    int64_t handed = F;
    const float* head = cin_head_.data();
    for (const Layer& layer : layers_) {
      const Matrix products = Matrix::make(rows, F * handed, arena);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t f = 0; f < F; ++f)
          kernels::scaled(products.row(r) + f * handed, maps.row(r), x.row(r)[f], handed);
      const Matrix out = Matrix::make(rows, layer.map.out(), arena);
      layer.map.apply(products, out, true);
      const int64_t pooled = layer.map.out() - layer.pooled_from;
      for (int64_t r = 0; r < rows; ++r)
        logits[begin + r / D] += kernels::dot(out.row(r) + layer.pooled_from, head, pooled);
      head += pooled;
      maps = out;
      handed = layer.handed_on;
    }
  }

  const FieldPlan& fields_;
  ContextField context_;
  SplitMlp tower_;
  std::vector<Layer> layers_;
  std::vector<float> cin_head_, context_linear_;
  float bias_, cin_bias_ = 0;
  int64_t tower_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_xdeepfm(const BackboneSource& source) {
  return std::make_unique<XDeepFm>(source);
}

}  // namespace llmcf::serve
