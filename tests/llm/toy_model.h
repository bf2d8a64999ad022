// A tiny model with random weights, for tests that need no recorded one.
#pragma once

#include <memory>

#include "llm/language_model.h"
#include "llm/toy_tokenizer.h"

namespace llmcf::llm::testing {

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
