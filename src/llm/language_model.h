// A decoder of the LLaMA family: LLaMA 2 and 3, Mistral, Qwen2. Parameters carry the names of the
// Hugging Face layout.
//
//   B rows   T tokens of a row   D hidden width   H heads   G key/value heads   d head width
//   V vocabulary   S slots of a cache   L capacity of a slot
//
// Invariants:
//  1. A token sees itself and earlier tokens of its own segment, within the sliding window if there
//     is one: packing sequences into a row changes no number of theirs.
//  2. With a cache, a token at position p of a slot sees what the slot holds at positions <= p.
//  3. Normalisation, rotary positions, softmax and losses are computed in fp32 whatever the
//     parameters are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "llm/model_config.h"

namespace llmcf::llm {

// y = x W^T + b, and with an adapter + scale * (dropout(x) A^T) B^T (Hu et al., LoRA, ICLR 2022).
struct Linear {
  torch::Tensor weight;     // [out, in]
  torch::Tensor bias;       // [out] or undefined
  torch::Tensor lora_a;     // [r, in] or undefined
  torch::Tensor lora_b;     // [out, r]
  double lora_scale = 0;    // negative: merged into the weight
  double lora_dropout = 0;  // only where `training`

  torch::Tensor forward(const torch::Tensor& x, bool training) const;
};

struct Layer {
  torch::Tensor input_norm, post_norm;  // [D]
  Linear q, k, v, o, gate, up, down;
};

// Keys and values of sequences that are being generated.
struct KvCache {
  std::vector<torch::Tensor> keys, values;  // per layer [S, G, L, d]
  int64_t slots() const { return keys.empty() ? 0 : keys[0].size(0); }
  int64_t capacity() const { return keys.empty() ? 0 : keys[0].size(2); }
  // Copies what slot `from` holds at positions < `length` to slot `to`.
  void copy(int64_t from, int64_t to, int64_t length);
  // Slot slots[i] gets what slot parents[i] holds at positions [begin, end), all at once.
  void reorder(const std::vector<int64_t>& slots, const std::vector<int64_t>& parents,
               int64_t begin, int64_t end);
};

// Tokens and where they stand. Without a cache `positions` may be undefined (0, 1, ...), and so may
// `segments` (each row is one).
struct TokenBatch {
  torch::Tensor ids;        // int64 [B, T]
  torch::Tensor positions;  // int64 [B, T]
  torch::Tensor segments;   // int64 [B, T]; -1 = padding, seen by nothing else
};

// Row b continues slot first_slot + b.
struct CacheView {
  KvCache& cache;
  int64_t first_slot = 0;
  int64_t length = 0;  // of the longest slot, the new tokens included
};

class LanguageModel {
 public:
  // Parameters are allocated, not set.
  LanguageModel(ModelConfig config, torch::Dtype dtype, torch::Device device);

  // Reads the weights of a model directory layer by layer; a dtype of its own converts. Throws
  // InputError naming what is missing, of a wrong shape, broken or not supported.
  static std::unique_ptr<LanguageModel> load(const std::filesystem::path& directory,
                                             torch::Dtype dtype, torch::Device device);
  // Normal(0, 0.02), the output projections of a layer scaled by 1 / sqrt(2 layers), norms 1.
  void initialise(uint64_t seed);

  const ModelConfig& config() const { return config_; }
  torch::Dtype dtype() const { return dtype_; }
  torch::Device device() const { return device_; }
  bool training = false;            // dropout of adapters
  bool checkpoints_layers = false;  // a layer's activations are computed again for its gradients

  // [B, T, D] after the last norm. `view` is null without a cache.
  torch::Tensor hidden(const TokenBatch& batch, const CacheView* view = nullptr) const;
  // [..., D] -> [..., V]
  torch::Tensor logits(const torch::Tensor& hidden) const;
  // The mean negative log likelihood of `targets` [B, T] (int64, -1 = not one), a scalar, and how
  // many there are. Logits exist only at targets, a block of them at a time.
  struct Loss {
    torch::Tensor mean;
    int64_t targets = 0;
  };
  Loss loss(const TokenBatch& batch, const torch::Tensor& targets) const;

  KvCache make_cache(int64_t slots, int64_t capacity) const;

  // In the file's order: embedding, layers, norm, output. Adapters are not among them.
  std::vector<std::pair<std::string, torch::Tensor>> parameters() const;
  // The seven linear maps of each layer by name, "model.layers.0.self_attn.q_proj".
  std::vector<std::pair<std::string, Linear*>> linears();

 private:
  torch::Tensor layer_forward(const Layer& layer, const torch::Tensor& x, const torch::Tensor& cos,
                              const torch::Tensor& sin, const torch::Tensor& mask, size_t index,
                              const CacheView* view, const torch::Tensor& positions) const;
  torch::Tensor with_perceptron(const Layer& layer, const torch::Tensor& y) const;
  bool decodes_fast(int64_t tokens) const;
  torch::Tensor decode(const torch::Tensor& q, const torch::Tensor& keys,
                       const torch::Tensor& values, const torch::Tensor& positions) const;
  torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                       const torch::Tensor& mask) const;
  torch::Tensor mask_of(const TokenBatch& batch, const torch::Tensor& positions,
                        const CacheView* view) const;

  ModelConfig config_;
  torch::Dtype dtype_;
  torch::Device device_;
  torch::Tensor embedding_;  // [V, D]
  std::vector<Layer> layers_;
  torch::Tensor norm_;         // [D]
  torch::Tensor output_;       // [V, D]; the embedding where tied
  torch::Tensor frequencies_;  // [d / 2] fp32
};

}  // namespace llmcf::llm
