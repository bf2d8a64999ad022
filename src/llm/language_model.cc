#include "llm/language_model.h"

#include <cmath>
#include <numbers>

#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "llm/checkpoint.h"
#include "llm/decode_attention.h"
#include "llm/recompute.h"

namespace llmcf::llm {

namespace {

constexpr int64_t kLossRows = 1024;  // targets whose logits exist at a time

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double epsilon) {
  const torch::Tensor wide = x.to(torch::kFloat);
  const torch::Tensor scale = at::rsqrt(wide.square().mean(-1, true) + epsilon);
  return (wide * scale).to(weight.scalar_type()) * weight;
}

// x [B, N, T, d]; cos and sin [B, 1, T, d / 2]. The halves of a head are the two coordinates.
torch::Tensor rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin) {
  const int64_t half = x.size(3) / 2;
  const torch::Tensor wide = x.to(torch::kFloat);
  const torch::Tensor a = wide.narrow(3, 0, half), b = wide.narrow(3, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, 3).to(x.scalar_type());
}

torch::Tensor frequencies_of(const ModelConfig& config, torch::Device device) {
  const int64_t half = config.head_width / 2;
  std::vector<float> values;
  for (int64_t i = 0; i < half; ++i) {
    double f = std::pow(config.rope_theta, -static_cast<double>(i) / static_cast<double>(half));
    if (const auto& scaling = config.rope_scaling) {
      const double length = 2 * std::numbers::pi / f;
      const auto original = static_cast<double>(scaling->original_positions);
      const double share =
          std::clamp((original / length - scaling->low) / (scaling->high - scaling->low), 0.0, 1.0);
      f = (1 - share) * f / scaling->factor + share * f;
    }
    values.push_back(static_cast<float>(f));
  }
  return torch::Tensor(at::empty({half}, torch::kFloat))
      .copy_(at::from_blob(values.data(), {half}, torch::kFloat))
      .to(device);
}

}  // namespace

torch::Tensor Linear::forward(const torch::Tensor& x, bool training) const {
  const torch::Tensor y = at::linear(x, weight, bias);
  if (!lora_a.defined() || lora_scale <= 0) return y;  // none, or merged
  const torch::Tensor kept = lora_dropout > 0 && training ? at::dropout(x, lora_dropout, true) : x;
  const torch::Tensor low = at::linear(kept.to(lora_a.scalar_type()), lora_a);
  return y + (lora_scale * at::linear(low, lora_b)).to(y.scalar_type());
}

void KvCache::copy(int64_t from, int64_t to, int64_t length) {
  if (from == to || length == 0) return;
  for (auto* tensors : {&keys, &values})
    for (torch::Tensor& t : *tensors)
      t.select(0, to).narrow(1, 0, length).copy_(t.select(0, from).narrow(1, 0, length));
}

void KvCache::reorder(const std::vector<int64_t>& slots, const std::vector<int64_t>& parents,
                      int64_t begin, int64_t end) {
  if (slots == parents || begin == end) return;
  const torch::Device device = keys[0].device();
  const torch::Tensor to = at::tensor(slots, torch::kLong).to(device);
  const torch::Tensor from = at::tensor(parents, torch::kLong).to(device);
  for (auto* tensors : {&keys, &values})
    for (torch::Tensor& t : *tensors) {
      torch::Tensor part = t.narrow(2, begin, end - begin);
      part.index_copy_(0, to, part.index_select(0, from));
    }
}

LanguageModel::LanguageModel(ModelConfig config, torch::Dtype dtype, torch::Device device)
    : config_(std::move(config)), dtype_(dtype), device_(device) {
  const auto options = torch::TensorOptions(dtype).device(device);
  const int64_t D = config_.hidden, I = config_.intermediate;
  const int64_t q = config_.heads * config_.head_width, kv = config_.kv_heads * config_.head_width;
  const auto linear = [&](int64_t out, int64_t in, bool bias) {
    return Linear{.weight = at::empty({out, in}, options),
                  .bias = bias ? at::empty({out}, options) : torch::Tensor(),
                  .lora_a = {},
                  .lora_b = {}};
  };
  embedding_ = at::empty({config_.vocabulary, D}, options);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    layers_.push_back({.input_norm = at::empty({D}, options),
                       .post_norm = at::empty({D}, options),
                       .q = linear(q, D, config_.qkv_bias),
                       .k = linear(kv, D, config_.qkv_bias),
                       .v = linear(kv, D, config_.qkv_bias),
                       .o = linear(D, q, config_.output_bias),
                       .gate = linear(I, D, config_.mlp_bias),
                       .up = linear(I, D, config_.mlp_bias),
                       .down = linear(D, I, config_.mlp_bias)});
  }
  norm_ = at::empty({D}, options);
  output_ = config_.tied ? embedding_ : at::empty({config_.vocabulary, D}, options);
  frequencies_ = frequencies_of(config_, device);
}

std::vector<std::pair<std::string, Linear*>> LanguageModel::linears() {
  std::vector<std::pair<std::string, Linear*>> result;
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::pair<const char*, Linear*> parts[] = {
        {"self_attn.q_proj", &layer.q}, {"self_attn.k_proj", &layer.k},
        {"self_attn.v_proj", &layer.v}, {"self_attn.o_proj", &layer.o},
        {"mlp.gate_proj", &layer.gate}, {"mlp.up_proj", &layer.up},
        {"mlp.down_proj", &layer.down}};
    for (const auto& [name, part] : parts)
      result.emplace_back(prefix + name, part);
  }
  return result;
}

std::vector<std::pair<std::string, torch::Tensor>> LanguageModel::parameters() const {
  std::vector<std::pair<std::string, torch::Tensor>> result = {
      {"model.embed_tokens.weight", embedding_}};
  const auto linears = const_cast<LanguageModel*>(this)->linears();  // only read
  const size_t per_layer = linears.size() / layers_.size();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    result.emplace_back(prefix + "input_layernorm.weight", layers_[i].input_norm);
    for (size_t j = i * per_layer; j < (i + 1) * per_layer; ++j) {
      result.emplace_back(linears[j].first + ".weight", linears[j].second->weight);
      if (linears[j].second->bias.defined())
        result.emplace_back(linears[j].first + ".bias", linears[j].second->bias);
    }
    result.emplace_back(prefix + "post_attention_layernorm.weight", layers_[i].post_norm);
  }
  result.emplace_back("model.norm.weight", norm_);
  if (!config_.tied) result.emplace_back("lm_head.weight", output_);
  return result;
}

std::unique_ptr<LanguageModel> LanguageModel::load(const std::filesystem::path& directory,
                                                   torch::Dtype dtype, torch::Device device) {
  ModelConfig config = ModelConfig::load(directory);
  const Checkpoint checkpoint(directory);
  auto model = std::make_unique<LanguageModel>(std::move(config), dtype, device);
  for (auto& [name, tensor] : model->parameters())
    checkpoint.read(name, tensor);
  return model;
}

void LanguageModel::initialise(uint64_t seed) {
  const torch::NoGradGuard no_gradients;
  const double deep = 0.02 / std::sqrt(2.0 * static_cast<double>(config_.layers));
  for (auto& [name, tensor] : parameters()) {
    if (name.ends_with("norm.weight")) {
      tensor.fill_(1);
      continue;
    }
    if (name.ends_with(".bias")) {
      tensor.zero_();
      continue;
    }
    Random random(seed, name);
    const bool last = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
    std::vector<float> values(static_cast<size_t>(tensor.numel()));
    for (float& value : values)
      value = static_cast<float>((last ? deep : 0.02) * random.normal());
    tensor.copy_(at::from_blob(values.data(), tensor.sizes(), torch::kFloat));
  }
}

KvCache LanguageModel::make_cache(int64_t slots, int64_t capacity) const {
  KvCache cache;
  const auto options = torch::TensorOptions(dtype_).device(device_);
  for (int64_t layer = 0; layer < config_.layers; ++layer)
    for (auto* tensors : {&cache.keys, &cache.values})
      tensors->push_back(
          at::zeros({slots, config_.kv_heads, capacity, config_.head_width}, options));
  return cache;
}

// True where a key is seen: [B, T, keys].
torch::Tensor LanguageModel::mask_of(const TokenBatch& batch, const torch::Tensor& positions,
                                     const CacheView* view) const {
  const int64_t T = batch.ids.size(1);
  const auto options = torch::TensorOptions(torch::kLong).device(device_);
  torch::Tensor mask;
  if (view != nullptr) {
    const torch::Tensor keys = at::arange(view->length, options).view({1, 1, -1});
    const torch::Tensor at_query = positions.unsqueeze(2);
    mask = keys <= at_query;
    if (config_.sliding_window > 0) mask = mask & (keys > at_query - config_.sliding_window);
    return mask;
  }
  const torch::Tensor index = at::arange(T, options);
  mask = (index.view({1, 1, T}) <= index.view({1, T, 1}));
  if (config_.sliding_window > 0)
    mask = mask & (index.view({1, 1, T}) > index.view({1, T, 1}) - config_.sliding_window);
  if (batch.segments.defined())
    mask = mask & (batch.segments.unsqueeze(1) == batch.segments.unsqueeze(2));
  return mask;
}

// q [B, H, T, d], k and v [B, G, K, d], mask [B or 1, T, K] -> [B, T, H d]. Queries that share a
// key/value head are rows of one product.
torch::Tensor LanguageModel::attend(const torch::Tensor& q, const torch::Tensor& k,
                                    const torch::Tensor& v, const torch::Tensor& mask) const {
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), d = q.size(3);
  const int64_t G = k.size(1), K = k.size(2), per = H / G;
  const torch::Tensor rows = q.reshape({B * G, per * T, d});
  const torch::Tensor scores =
      at::bmm(rows, k.reshape({B * G, K, d}).transpose(1, 2)).to(torch::kFloat) *
      (1 / std::sqrt(static_cast<double>(d)));
  const torch::Tensor seen =
      at::where(mask.unsqueeze(1).unsqueeze(1), scores.view({B, G, per, T, K}),
                at::scalar_tensor(-std::numeric_limits<float>::infinity(), scores.options()));
  const torch::Tensor weights = at::softmax(seen, -1).to(v.scalar_type());
  return at::bmm(weights.view({B * G, per * T, K}), v.reshape({B * G, K, d}))
      .view({B, H, T, d})
      .transpose(1, 2)
      .reshape({B, T, H * d});
}

// One token per row: a loop over each slot's own length instead of a product over the longest.
bool LanguageModel::decodes_fast(int64_t tokens) const {
  return tokens == 1 && device_.is_cpu() && dtype_ == torch::kFloat && !at::GradMode::is_enabled();
}

torch::Tensor LanguageModel::decode(const torch::Tensor& q, const torch::Tensor& keys,
                                    const torch::Tensor& values,
                                    const torch::Tensor& positions) const {
  const int64_t B = q.size(0), d = config_.head_width;
  const torch::Tensor queries = q.contiguous(), last = positions.contiguous();
  torch::Tensor out = at::empty({B, 1, config_.heads * d}, q.options());
  attend_decoding({.queries = queries.data_ptr<float>(),
                   .keys = keys.data_ptr<float>(),
                   .values = values.data_ptr<float>(),
                   .last = last.data_ptr<int64_t>(),
                   .slots = B,
                   .kv_heads = config_.kv_heads,
                   .per_head = config_.heads / config_.kv_heads,
                   .width = d,
                   .capacity = keys.size(2),
                   .window = config_.sliding_window,
                   .out = out.data_ptr<float>()});
  return out;
}

torch::Tensor LanguageModel::layer_forward(const Layer& layer, const torch::Tensor& x,
                                           const torch::Tensor& cos, const torch::Tensor& sin,
                                           const torch::Tensor& mask, size_t index,
                                           const CacheView* view,
                                           const torch::Tensor& positions) const {
  const int64_t B = x.size(0), T = x.size(1), d = config_.head_width;
  const torch::Tensor normed = rms_norm(x, layer.input_norm, config_.norm_epsilon);
  const auto heads = [&](const Linear& linear, int64_t count) {
    return linear.forward(normed, training).view({B, T, count, d}).transpose(1, 2);
  };
  const torch::Tensor q = rotate(heads(layer.q, config_.heads), cos, sin);
  torch::Tensor k = rotate(heads(layer.k, config_.kv_heads), cos, sin);
  torch::Tensor v = heads(layer.v, config_.kv_heads);
  if (view != nullptr) {
    const auto slots = [&](const torch::Tensor& tensor) {
      return tensor.narrow(0, view->first_slot, B);
    };
    const torch::Tensor keys = slots(view->cache.keys[index]);
    const torch::Tensor values = slots(view->cache.values[index]);
    const torch::Tensor place = positions.view({B, 1, T, 1}).expand_as(k);
    keys.scatter_(2, place, k);
    values.scatter_(2, place, v);
    if (decodes_fast(T)) {
      const torch::Tensor y = x + layer.o.forward(decode(q, keys, values, positions), training);
      return with_perceptron(layer, y);
    }
    k = keys.narrow(2, 0, view->length);
    v = values.narrow(2, 0, view->length);
  }
  return with_perceptron(layer, x + layer.o.forward(attend(q, k, v, mask), training));
}

torch::Tensor LanguageModel::with_perceptron(const Layer& layer, const torch::Tensor& y) const {
  const torch::Tensor post = rms_norm(y, layer.post_norm, config_.norm_epsilon);
  return y + layer.down.forward(
                 at::silu(layer.gate.forward(post, training)) * layer.up.forward(post, training),
                 training);
}

torch::Tensor LanguageModel::hidden(const TokenBatch& batch, const CacheView* view) const {
  const int64_t B = batch.ids.size(0), T = batch.ids.size(1);
  const torch::Tensor positions =
      batch.positions.defined()
          ? batch.positions
          : at::arange(T, torch::TensorOptions(torch::kLong).device(device_)).expand({B, T});
  const torch::Tensor angles = positions.to(torch::kFloat).unsqueeze(2) * frequencies_;
  const torch::Tensor cos = angles.cos().unsqueeze(1), sin = angles.sin().unsqueeze(1);
  const torch::Tensor mask =
      view != nullptr && decodes_fast(T) ? torch::Tensor() : mask_of(batch, positions, view);
  torch::Tensor x = at::embedding(embedding_, batch.ids);
  const bool recomputes = checkpoints_layers && view == nullptr && at::GradMode::is_enabled();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto run = [this, i, cos, sin, mask, view, positions](const torch::Tensor& in) {
      return layer_forward(layers_[i], in, cos, sin, mask, i, view, positions);
    };
    x = recomputes ? recomputed(run, x) : run(x);
  }
  return rms_norm(x, norm_, config_.norm_epsilon);
}

torch::Tensor LanguageModel::logits(const torch::Tensor& hidden) const {
  return at::linear(hidden, output_).to(torch::kFloat);
}

LanguageModel::Loss LanguageModel::loss(const TokenBatch& batch,
                                        const torch::Tensor& targets) const {
  const torch::Tensor flat = targets.reshape({-1});
  const torch::Tensor places = at::nonzero(flat >= 0).view({-1});
  const int64_t count = places.size(0);
  if (count == 0) throw Error("a batch has no target: every token is left out of the loss");
  const torch::Tensor states = hidden(batch).reshape({-1, config_.hidden});
  torch::Tensor sum;
  for (int64_t first = 0; first < count; first += kLossRows) {
    const torch::Tensor part = places.narrow(0, first, std::min(kLossRows, count - first));
    const auto block = [this, wanted = at::index_select(flat, 0, part)](const torch::Tensor& in) {
      return at::cross_entropy_loss(logits(in), wanted, {}, at::Reduction::Sum);
    };
    const torch::Tensor rows = at::index_select(states, 0, part);
    // One block: keep its logits. Several: compute them again for the gradients.
    const bool one = count <= kLossRows || !at::GradMode::is_enabled();
    const torch::Tensor loss = one ? block(rows) : recomputed(block, rows);
    sum = sum.defined() ? sum + loss : loss;
  }
  return {sum / static_cast<double>(count), count};
}

}  // namespace llmcf::llm
