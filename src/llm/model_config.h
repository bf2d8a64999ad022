// What `config.json` of a Hugging Face model directory says about a decoder of the LLaMA family.
// No libtorch.
//
//   D hidden width   H attention heads   G key/value heads   d width of a head   V vocabulary
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace llmcf::llm {

// LLaMA 3's: wave lengths above `original_positions / low` are stretched by `factor`, those below
// `original_positions / high` stay, between them it is interpolated.
struct RopeScaling {
  double factor = 8;
  double low = 1;
  double high = 4;
  int64_t original_positions = 8192;
};

struct ModelConfig {
  std::string architecture;  // LlamaForCausalLM, MistralForCausalLM or Qwen2ForCausalLM
  int64_t hidden = 0;        // D
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;       // H
  int64_t kv_heads = 0;    // G, divides H
  int64_t head_width = 0;  // d
  int64_t vocabulary = 0;  // V
  int64_t max_positions = 2048;
  double norm_epsilon = 1e-6;
  double rope_theta = 10000;
  std::optional<RopeScaling> rope_scaling;
  bool tied = false;           // the output reads the embedding table
  bool qkv_bias = false;       // q_proj, k_proj and v_proj have biases
  bool output_bias = false;    // o_proj has one
  bool mlp_bias = false;       // and the three of the perceptron
  int64_t sliding_window = 0;  // keys a token sees, itself included; 0 = all before it
  int32_t begin_id = -1;       // -1 = none
  std::vector<int32_t> end_ids;
  nlohmann::json source;  // the whole file, for writing it back

  // Reads `directory`/config.json. Throws InputError naming the file, the key and what is
  // supported.
  static ModelConfig load(const std::filesystem::path& directory);

  int64_t parameters() const;  // tied ones once
};

}  // namespace llmcf::llm
