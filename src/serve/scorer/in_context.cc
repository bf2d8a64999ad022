#include "serve/scorer/in_context.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::serve {

namespace {

constexpr double kTheta = 10000.0;  // of the rotary positions

std::vector<float> copy_of(std::span<const float> values) {
  return {values.begin(), values.end()};
}

}  // namespace

struct InContext::Layer {
  std::vector<float> attention_norm, feed_forward_norm;
  kernels::PackedWeights qkv, out, gates, down;
  int64_t hidden = 0;

  Layer(const Bundle& bundle, const std::string& name) {
    attention_norm = copy_of(bundle.weight(name + ".attention_norm.weight"));
    feed_forward_norm = copy_of(bundle.weight(name + ".feed_forward_norm.weight"));
    const auto d = static_cast<int64_t>(attention_norm.size());
    const auto stacked = [&](std::initializer_list<const char*> parts) {
      std::vector<float> all;
      for (const char* part : parts) {
        const auto weight = bundle.weight(name + part);
        all.insert(all.end(), weight.begin(), weight.end());
      }
      return all;
    };
    qkv = kernels::PackedWeights(stacked({".wq.weight", ".wk.weight", ".wv.weight"}).data(), 3 * d,
                                 d);
    out = kernels::PackedWeights(bundle.weight(name + ".wo.weight").data(), d, d);
    hidden = bundle.weight_shape(name + ".w1.weight")[0];
    gates = kernels::PackedWeights(stacked({".w1.weight", ".w3.weight"}).data(), 2 * hidden, d);
    down = kernels::PackedWeights(bundle.weight(name + ".w2.weight").data(), d, hidden);
  }
};

struct InContext::Prefixes {
  int64_t count = 0;
  int64_t* begin = nullptr;  // [count + 1]
  int32_t* of = nullptr;     // by candidate of the block
  Matrix tokens;             // hidden states, all prefixes one after the other

  int64_t length(int64_t prefix) const { return begin[prefix + 1] - begin[prefix]; }
};

InContext::InContext(const ContextOfSource& source) : maps_(source, "context.ict.token_map") {
  const Bundle& bundle = source.bundle;
  const BundleContext& context = bundle.spec().context;
  merged_ = context.merged;
  with_cot_ = context.kind != "ict_wocot";
  residual_ = context.residual;
  attends_ = context.kind != "mean";
  evidence_ = context.evidence;
  const int64_t d = maps_.width();
  if (residual_) gate_ = copy_of(bundle.weight("context.ict.gate"));
  if (evidence_) {
    slot_features_ = bundle.spec().slot_features();
    evidence_map_ =
        kernels::PackedWeights(bundle.weight("context.ict.evidence").data(), d, 2 * slot_features_);
  }
  if (attends_) {
    for (int64_t layer = 0; bundle.has_weight(fmt::format("context.ict.layer{}.wq.weight", layer));
         ++layer)
      layers_.emplace_back(bundle, fmt::format("context.ict.layer{}", layer));
    norm_ = copy_of(bundle.weight("context.ict.norm.weight"));
    heads_ = context.heads;
    head_dim_ = d / heads_;
    const int64_t positions = 3 * bundle.spec().retrieval.k + 1;
    for (int64_t position = 0; position < positions; ++position)
      for (int64_t i = 0; i < head_dim_ / 2; ++i) {
        const double angle =
            static_cast<double>(position) *
            std::pow(kTheta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_));
        cosine_.push_back(static_cast<float>(std::cos(angle)));
        sine_.push_back(static_cast<float>(std::sin(angle)));
      }
  }
  example_label_ = bundle.examples().label;
  const SafetensorsReader& reader = bundle.reader();
  if (!reader.contains("examples.feature")) return;  // a bundle that is being made
  feature_ = reader.get<float>("examples.feature", {bundle.spec().examples, d});
  if (with_cot_) cot_ = reader.get<float>("examples.mapped_cot", {bundle.spec().examples, d});
  decide(bundle.weight("context.ict.label"));
}

// A merged token is feature + chain of thought + decision; a separate one the decision alone.
void InContext::decide(std::span<const float> labels) {
  const int64_t d = width(), stride = kernels::padded(d);
  const auto rows = merged_ ? static_cast<int64_t>(example_label_.size()) : 2;
  decided_.assign(static_cast<size_t>(rows * stride), 0.0F);
  for (int64_t row = 0; row < rows; ++row) {
    float* out = decided_.data() + row * stride;
    const int64_t label = merged_ ? example_label_[static_cast<size_t>(row)] : row;
    std::copy_n(labels.data() + label * d, d, out);
    if (!merged_) continue;
    kernels::add_scaled(out, feature_.data() + row * d, 1, d);
    if (with_cot_) kernels::add_scaled(out, cot_.data() + row * d, 1, d);
  }
}

InContext::~InContext() = default;

const RequestState* InContext::prepare(const RequestParts& request, ScratchArena& arena) const {
  auto* state = arena.array<TokenRequest>(1);
  *state = maps_.request(request, arena);
  return state;
}

void InContext::token(const RequestState* state, const float* item, float* out,
                      ScratchArena& arena) const {
  const ScratchArena::Scope scope(arena);
  const Matrix token = maps_.tokens(*static_cast<const TokenRequest*>(state), &item, 1, arena);
  std::copy_n(token.data, width(), out);
}

void InContext::rotate(float* x, int64_t position) const {
  const int64_t at = position * head_dim_ / 2;
  kernels::rotate(x, cosine_.data() + at, sine_.data() + at, heads_, head_dim_);
}

// The tokens of used slots; masked ones are left out: positions are relative. Rows of the decision
// get what retrieval knows of their slot in one product.
void InContext::write_prefixes(const ContextBlock& block, const int64_t* first, Prefixes& prefixes,
                               ScratchArena& arena) const {
  const int64_t d = width(), stride = kernels::padded(d), step = this->step();
  const int64_t slots = prefixes.tokens.count / step, G = slot_features_;
  auto* decided = arena.array<const float*>(slots);
  float* evidence = arena.zeros(slots * 2 * G);
  int64_t slot = 0;
  for (int64_t p = 0; p < prefixes.count; ++p)
    for (int64_t k = 0; k < block.k; ++k) {
      const int32_t example = block.slots[first[p]][k];
      if (example < 0) continue;
      const int64_t half = example_label_[static_cast<size_t>(example)];
      if (!merged_) {
        std::copy_n(feature_.data() + example * d, d, prefixes.tokens.row(slot * step));
        if (with_cot_)
          std::copy_n(cot_.data() + example * d, d, prefixes.tokens.row(slot * step + 1));
      }
      if (G > 0)
        std::copy_n(block.evidence[first[p]] + k * G, G, evidence + slot * 2 * G + half * G);
      decided[slot++] = decided_.data() + (merged_ ? example : half) * stride;
    }
  float* out = prefixes.tokens.data + (step - 1) * prefixes.tokens.stride;
  if (G > 0) {
    kernels::dense(evidence_map_, {.count = slots,
                                   .x = evidence,
                                   .x_stride = 2 * G,
                                   .addend = decided,
                                   .y = out,
                                   .y_stride = step * prefixes.tokens.stride});
  } else {
    for (int64_t i = 0; i < slots; ++i)
      std::copy_n(decided[i], d, out + i * step * prefixes.tokens.stride);
  }
}

// Neighbours in the block with the same examples share a prefix.
InContext::Prefixes InContext::make_prefixes(const ContextBlock& block, ScratchArena& arena) const {
  Prefixes prefixes;
  prefixes.begin = arena.array<int64_t>(block.count + 1);
  prefixes.of = arena.array<int32_t>(block.count);
  prefixes.begin[0] = 0;
  auto* first = arena.array<int64_t>(block.count);
  for (int64_t i = 0; i < block.count; ++i) {
    const bool same = i > 0 && !evidence_ &&
                      std::equal(block.slots[i], block.slots[i] + block.k, block.slots[i - 1]);
    if (!same) {
      const auto used = std::count_if(block.slots[i], block.slots[i] + block.k,
                                      [](int32_t example) { return example >= 0; });
      first[prefixes.count] = i;
      prefixes.begin[prefixes.count + 1] = prefixes.begin[prefixes.count] + used * step();
      ++prefixes.count;
    }
    prefixes.of[i] = static_cast<int32_t>(prefixes.count - 1);
  }
  prefixes.tokens = Matrix::make(prefixes.begin[prefixes.count], width(), arena);
  write_prefixes(block, first, prefixes, arena);
  return prefixes;
}

Matrix InContext::feed_forward(const Layer& layer, const Matrix& x, ScratchArena& arena) const {
  const int64_t d = width();
  const Matrix n = Matrix::make(x.count, d, arena);
  kernels::rms_norm(x.data, layer.feed_forward_norm.data(), n.data, x.count, d, x.stride);
  const Matrix gates = Matrix::make(x.count, 2 * layer.hidden, arena);
  kernels::dense(layer.gates, {.count = x.count,
                               .x = n.data,
                               .x_stride = n.stride,
                               .y = gates.data,
                               .y_stride = gates.stride});
  const Matrix hidden = Matrix::make(x.count, layer.hidden, arena);
  kernels::swiglu(gates.data, gates.stride, hidden.data, hidden.stride, x.count, layer.hidden);
  auto* residual = arena.array<const float*>(x.count);
  for (int64_t i = 0; i < x.count; ++i)
    residual[i] = x.row(i);
  const Matrix y = Matrix::make(x.count, d, arena);
  kernels::dense(layer.down, {.count = x.count,
                              .x = hidden.data,
                              .x_stride = hidden.stride,
                              .addend = residual,
                              .y = y.data,
                              .y_stride = y.stride});
  return y;
}

// Queries, keys and values of all prefixes into `qkv`; unless it is the last layer, the hidden
// states move on.
void InContext::add_prefix_layer(const Layer& layer, bool last, Prefixes& prefixes, Matrix& qkv,
                                 ScratchArena& arena) const {
  const int64_t d = width();
  const Matrix& h = prefixes.tokens;
  qkv = Matrix::make(h.count, 3 * d, arena);
  if (h.count == 0) return;
  const Matrix n = Matrix::make(h.count, d, arena);
  kernels::rms_norm(h.data, layer.attention_norm.data(), n.data, h.count, d, h.stride);
  kernels::dense(
      layer.qkv,
      {.count = h.count, .x = n.data, .x_stride = n.stride, .y = qkv.data, .y_stride = qkv.stride});
  for (int64_t p = 0; p < prefixes.count; ++p)
    for (int64_t t = 0; t < prefixes.length(p); ++t) {
      float* row = qkv.row(prefixes.begin[p] + t);
      if (!last) rotate(row, t);
      rotate(row + d, t);
    }
  if (last) return;
  const Matrix attended = Matrix::make(h.count, d, arena);
  const int64_t most = 3 * static_cast<int64_t>(cosine_.size()) / std::max<int64_t>(head_dim_, 1);
  float* weights = arena.floats(heads_ * most);
  auto* residual = arena.array<const float*>(h.count);
  for (int64_t p = 0; p < prefixes.count; ++p) {
    const float* base = qkv.row(prefixes.begin[p]);
    for (int64_t t = 0; t < prefixes.length(p); ++t) {
      const int64_t row = prefixes.begin[p] + t;
      residual[row] = h.row(row);
      kernels::attend({.heads = heads_,
                       .head_dim = head_dim_,
                       .query = qkv.row(row),
                       .keys = base + d,
                       .values = base + 2 * d,
                       .stride = qkv.stride,
                       .count = t + 1,
                       .weights = weights,
                       .out = attended.row(row)});
    }
  }
  const Matrix middle = Matrix::make(h.count, d, arena);
  kernels::dense(layer.out, {.count = h.count,
                             .x = attended.data,
                             .x_stride = attended.stride,
                             .addend = residual,
                             .y = middle.data,
                             .y_stride = middle.stride});
  prefixes.tokens = feed_forward(layer, middle, arena);
}

void InContext::tell_attention(const float* weights, int64_t count, const ContextBlock& block,
                               int64_t candidate) const {
  float* out = block.attention[candidate];
  int64_t position = 0;
  for (int64_t k = 0; k < block.k; ++k) {
    out[k] = 0;
    if (block.slots[candidate][k] < 0) continue;
    for (int64_t t = 0; t < step(); ++t, ++position)
      for (int64_t head = 0; head < heads_; ++head)
        out[k] += weights[head * count + position] / static_cast<float>(heads_);
  }
}

// The queries' own position of one layer.
Matrix InContext::query_layer(const Layer& layer, const Prefixes& prefixes, const Matrix& qkv,
                              const Matrix& query, const ContextBlock& block, bool last,
                              ScratchArena& arena) const {
  const int64_t d = width(), count = query.count;
  const Matrix n = Matrix::make(count, d, arena);
  kernels::rms_norm(query.data, layer.attention_norm.data(), n.data, count, d, query.stride);
  const Matrix own = Matrix::make(count, 3 * d, arena);
  kernels::dense(
      layer.qkv,
      {.count = count, .x = n.data, .x_stride = n.stride, .y = own.data, .y_stride = own.stride});
  const Matrix attended = Matrix::make(count, d, arena);
  auto* residual = arena.array<const float*>(count);
  float* weights = arena.floats(heads_ * (3 * block.k + 1));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t prefix = prefixes.of[i], length = prefixes.length(prefix);
    float* row = own.row(i);
    rotate(row, length);
    rotate(row + d, length);
    const float* base = length == 0 ? nullptr : qkv.row(prefixes.begin[prefix]);
    kernels::attend({.heads = heads_,
                     .head_dim = head_dim_,
                     .query = row,
                     .keys = base + d,
                     .values = base + 2 * d,
                     .stride = qkv.stride,
                     .count = length,
                     .own_key = row + d,
                     .own_value = row + 2 * d,
                     .weights = weights,
                     .out = attended.row(i)});
    residual[i] = query.row(i);
    if (last && block.attention != nullptr) tell_attention(weights, length + 1, block, i);
  }
  const Matrix middle = Matrix::make(count, d, arena);
  kernels::dense(layer.out, {.count = count,
                             .x = attended.data,
                             .x_stride = attended.stride,
                             .addend = residual,
                             .y = middle.data,
                             .y_stride = middle.stride});
  return feed_forward(layer, middle, arena);
}

// Mean of a candidate's tokens, its own included.
void InContext::mean(const Prefixes& prefixes, const Matrix& query, const Matrix& out) const {
  const int64_t d = width();
  for (int64_t i = 0; i < query.count; ++i) {
    const int64_t prefix = prefixes.of[i], length = prefixes.length(prefix);
    std::copy_n(query.row(i), d, out.row(i));
    for (int64_t t = 0; t < length; ++t)
      kernels::add_scaled(out.row(i), prefixes.tokens.row(prefixes.begin[prefix] + t), 1, d);
    const float share = 1.0F / static_cast<float>(length + 1);
    for (int64_t c = 0; c < d; ++c)
      out.row(i)[c] *= share;
  }
}

void InContext::compute(const RequestState* state, const ContextBlock& block, ScratchArena& arena,
                        const Matrix& out) const {
  const int64_t d = width();
  const Matrix token =
      maps_.tokens(*static_cast<const TokenRequest*>(state), block.items, block.count, arena);
  Prefixes prefixes = make_prefixes(block, arena);
  if (attends_) {
    Matrix query = token;
    for (size_t l = 0; l < layers_.size(); ++l) {
      const bool last = l + 1 == layers_.size();
      Matrix qkv;
      add_prefix_layer(layers_[l], last, prefixes, qkv, arena);
      query = query_layer(layers_[l], prefixes, qkv, query, block, last, arena);
    }
    kernels::rms_norm(query.data, norm_.data(), out.data, query.count, d, query.stride);
  } else {
    mean(prefixes, token, out);
  }
  if (!residual_) return;
  for (int64_t i = 0; i < block.count; ++i)
    for (int64_t c = 0; c < d; ++c)
      out.row(i)[c] = token.row(i)[c] + gate_[static_cast<size_t>(c)] * out.row(i)[c];
}

}  // namespace llmcf::serve
