// DIN as served (models/ctr/din.cc): the attention unit's first layer is linear in [q, k, q - k,
// q * k], so q's part is stored with the item and k's part made once per request; the product's
// part is made event by event for all candidates of a block.
#include <fmt/format.h>

#include "serve/scorer/assembly.h"

namespace llmcf::serve {

namespace {

struct DinRequest : RequestState {
  const float* tower = nullptr;
  int64_t events = 0;
  Matrix items;  // [events, A]
  Matrix keys;   // [events, first attention width]: (Wk - Wd) k + bias
};

class Din final : public Backbone {
 public:
  explicit Din(const BackboneSource& source) : fields_(source.fields) {
    const Bundle& bundle = source.bundle;
    const std::vector<int>& sequence = bundle.spec().sequence_fields;
    const int64_t D = fields_.dim();
    width_ = static_cast<int64_t>(sequence.size()) * D;
    for (const int field : sequence)
      sequence_.push_back(place_of(fields_.item_fields(), field));
    read_attention(bundle, source.options);
    // The tower reads [query, attended history, other fields, context].
    SplitColumns columns;
    int64_t column = 0;
    const auto take = [&](std::vector<int64_t>& into, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        into.push_back(column++);
    };
    take(columns.item, width_);
    take(columns.context, width_);
    for (int f = 0; f < fields_.fields(); ++f) {
      if (std::find(sequence.begin(), sequence.end(), f) != sequence.end()) continue;
      if (bundle.spec().fields[static_cast<size_t>(f)].spec.role == models::FieldRole::kHistory)
        continue;
      (fields_.is_item(f) ? other_items_ : other_requests_)
          .push_back(
              place_of(fields_.is_item(f) ? fields_.item_fields() : fields_.request_fields(), f));
      take(fields_.is_item(f) ? columns.item : columns.request, D);
    }
    take(columns.context, source.context_width);
    context_width_ = source.context_width;
    tower_ = SplitMlp(bundle, "backbone.tower", columns, false, false);
    tower_at_ = source.layout.add(tower_.first().out());
    query_at_ = source.layout.add(width_);
    attention_at_ = source.layout.add(query_part_.out());
  }

  void fill_item(float* constants) const override {
    float* query = constants + query_at_;
    write_query(constants, query);
    kernels::dense(query_part_, {.count = 1,
                                 .x = query,
                                 .y = constants + attention_at_,
                                 .y_stride = kernels::padded(query_part_.out())});
    const int64_t D = fields_.dim();
    std::vector<float> parts(query, query + width_);
    for (const int64_t field : other_items_) {
      const float* from = constants + fields_.fields_at() + field * D;
      parts.insert(parts.end(), from, from + D);
    }
    tower_.first().item_half(parts.data(), constants + tower_at_);
  }

  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<DinRequest>(1);
    *state = {};
    const int64_t D = fields_.dim();
    float* parts = arena.floats(static_cast<int64_t>(other_requests_.size()) * D);
    for (size_t i = 0; i < other_requests_.size(); ++i)
      std::copy_n(request.fields + other_requests_[i] * D, D, parts + static_cast<int64_t>(i) * D);
    float* tower = arena.floats(kernels::padded(tower_.first().out()));
    tower_.first().request_half(parts, tower);
    state->tower = tower;
    state->events = request.history_count;
    state->items = Matrix::make(state->events, width_, arena);
    state->keys = Matrix::make(state->events, key_part_.out(), arena);
    for (int64_t e = 0; e < state->events; ++e)
      write_query(request.history[e], state->items.row(e));
    key_part_.apply(state->items, state->keys);
    return state;
  }

  void score(const RequestState* state, const Block& block, ScratchArena& arena,
             float* logits) const override {
    const auto& request = *static_cast<const DinRequest*>(state);
    const Matrix joined = Matrix::make(block.count, width_ + context_width_, arena);
    for (int64_t i = 0; i < block.count; ++i) {
      std::fill_n(joined.row(i), width_, 0.0F);
      if (context_width_ > 0)
        std::copy_n(block.context.row(i), context_width_, joined.row(i) + width_);
    }
    const float* const* halves = at_offset(block.items, block.count, attention_at_, arena);
    for (int64_t e = 0; e < request.events; ++e)
      attend(request, block, halves, e, joined, arena);
    const Matrix deep =
        tower_.apply(request.tower, at_offset(block.items, block.count, tower_at_, arena), joined,
                     block.count, arena);
    for (int64_t i = 0; i < block.count; ++i)
      logits[i] = deep.row(i)[0];
  }

 private:
  void read_attention(const Bundle& bundle, const Config& options) {
    const bool last_activation =
        options.get_choice("last_attention_activation", "none", {"none", "relu"}) == "relu";
    const LinearWeights first = LinearWeights::of(bundle, "backbone.attention0");
    const int64_t A = width_;
    LinearWeights key{.out = first.out,
                      .in = A,
                      .weight = std::vector<float>(static_cast<size_t>(first.out * A)),
                      .bias = first.bias};
    std::vector<float> query = key.weight, product = key.weight;
    for (int64_t o = 0; o < first.out; ++o)
      for (int64_t i = 0; i < A; ++i) {
        const float* row = first.weight.data() + o * 4 * A + i;
        const auto at = static_cast<size_t>(o * A + i);
        query[at] = row[0] + row[2 * A];
        key.weight[at] = row[A] - row[2 * A];
        product[at] = row[3 * A];
      }
    query_part_ = kernels::PackedWeights(query.data(), first.out, A);
    product_part_ = kernels::PackedWeights(product.data(), first.out, A);
    key_part_ = Linear(key);
    for (int64_t i = 1; bundle.has_weight(fmt::format("backbone.attention{}.weight", i)); ++i)
      rest_.push_back(
          {Linear(LinearWeights::of(bundle, fmt::format("backbone.attention{}", i))), true});
    if (!rest_.empty()) rest_.back().relu = last_activation;
    const auto score = bundle.weight("backbone.score.weight");
    score_.assign(score.begin(), score.end());
    score_bias_ = bundle.weight("backbone.score.bias")[0];
  }

  // The fields that histories have too, one after the other.
  void write_query(const float* constants, float* out) const {
    const int64_t D = fields_.dim();
    for (size_t i = 0; i < sequence_.size(); ++i)
      std::copy_n(constants + fields_.fields_at() + sequence_[i] * D, D,
                  out + static_cast<int64_t>(i) * D);
  }

  // Adds event e, weighted, to the attended histories of all candidates.
  void attend(const DinRequest& request, const Block& block, const float* const* halves, int64_t e,
              const Matrix& joined, ScratchArena& arena) const {
    const ScratchArena::Scope scope(arena);
    const float* item = request.items.row(e);
    const Matrix products = Matrix::make(block.count, width_, arena);
    for (int64_t i = 0; i < block.count; ++i)
      kernels::product(products.row(i), block.items[i] + query_at_, item, width_);
    Matrix hidden = Matrix::make(block.count, product_part_.out(), arena);
    kernels::dense(product_part_, {.count = block.count,
                                   .x = products.data,
                                   .x_stride = products.stride,
                                   .bias = request.keys.row(e),
                                   .addend = halves,
                                   .relu = true,
                                   .y = hidden.data,
                                   .y_stride = hidden.stride});
    for (const Layer& layer : rest_) {
      const Matrix next = Matrix::make(block.count, layer.map.out(), arena);
      layer.map.apply(hidden, next, layer.relu);
      hidden = next;
    }
    for (int64_t i = 0; i < block.count; ++i) {
      const float weight = score_bias_ + kernels::dot(hidden.row(i), score_.data(),
                                                      static_cast<int64_t>(score_.size()));
      kernels::add_scaled(joined.row(i), item, weight, width_);
    }
  }

  struct Layer {
    Linear map;
    bool relu = true;
  };

  const FieldPlan& fields_;
  int64_t width_ = 0;  // A
  int64_t context_width_ = 0;
  std::vector<int64_t> sequence_, other_items_, other_requests_;  // places among fields
  kernels::PackedWeights query_part_, product_part_;
  Linear key_part_;
  std::vector<Layer> rest_;
  std::vector<float> score_;
  float score_bias_ = 0;
  SplitMlp tower_;
  int64_t tower_at_ = 0, query_at_ = 0, attention_at_ = 0;
};

}  // namespace

std::unique_ptr<Backbone> make_din(const BackboneSource& source) {
  return std::make_unique<Din>(source);
}

}  // namespace llmcf::serve
