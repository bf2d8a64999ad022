// A tiny model with random weights and a tokenizer of bytes, for tests that need no recorded model.
#pragma once

#include <memory>
#include <string>

#include "llm/language_model.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm::testing {

// Ids 0, 1, 2 are <unk>, <s>, </s>; byte b is 3 + b.
class ByteTokenizer final : public text::LanguageTokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    for (const char byte : text)
      ids.push_back(3 + static_cast<unsigned char>(byte));
    return ids;
  }
  std::string bytes(int32_t id) const override {
    return id < 3 ? "" : std::string(1, static_cast<char>(id - 3));
  }
  std::optional<int32_t> special(std::string_view name) const override {
    if (name == "<s>") return 1;
    if (name == "</s>") return 2;
    return std::nullopt;
  }
  int64_t size() const override { return 259; }
};

inline ModelConfig toy_config() {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.hidden = 32;
  config.intermediate = 48;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_width = 8;
  config.vocabulary = 259;
  config.max_positions = 96;
  config.begin_id = 1;
  config.end_ids = {2};
  config.source = {{"architectures", {"LlamaForCausalLM"}},
                   {"hidden_size", 32},
                   {"intermediate_size", 48},
                   {"num_hidden_layers", 2},
                   {"num_attention_heads", 4},
                   {"num_key_value_heads", 2},
                   {"vocab_size", 259},
                   {"max_position_embeddings", 96},
                   {"rms_norm_eps", 1e-6},
                   {"bos_token_id", 1},
                   {"eos_token_id", 2}};
  return config;
}

// Weights larger than a fresh model's, so that what it says depends on what it read.
inline std::unique_ptr<LanguageModel> toy_model(uint64_t seed = 1,
                                                const ModelConfig& config = toy_config()) {
  auto model = std::make_unique<LanguageModel>(config, torch::kFloat, torch::kCPU);
  model->initialise(seed);
  for (auto& [name, tensor] : model->parameters())
    if (!name.ends_with("norm.weight")) tensor.mul_(8);
  return model;
}

}  // namespace llmcf::llm::testing
