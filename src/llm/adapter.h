// Low-rank adapters (LoRA; Hu et al., ICLR 2022).
//
//   r rank   scale alpha / r
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

#include "llm/language_model.h"

namespace llmcf::llm {

struct LoraOptions {
  int64_t rank = 0;  // 0 = no adapter
  double alpha = 16;
  double dropout = 0;
  // Last parts of names: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.
  std::vector<std::string> targets = {"q_proj", "v_proj"};

  void check() const;  // throws Error naming what is out of range or not known
};

// Gives every target an adapter in fp32 that changes nothing yet: A is Kaiming-uniform, B is 0.
void attach_adapter(LanguageModel& model, const LoraOptions& options, uint64_t seed);
// A and B of every adapted map, by the map's name + ".lora_A.weight" and ".lora_B.weight".
std::vector<std::pair<std::string, torch::Tensor>> adapter_parameters(LanguageModel& model);

// Adds every adapter to its weight, after which it is switched off; unmerge takes it away again (up
// to rounding). Throws Error if there is no adapter, or if it is merged (not merged) already.
void merge_adapter(LanguageModel& model);
void unmerge_adapter(LanguageModel& model);

// PEFT's layout: adapter_config.json and adapter_model.safetensors. `base`: the model's name or
// directory. load throws InputError naming what does not fit the model.
void save_adapter(LanguageModel& model, const LoraOptions& options, const std::string& base,
                  const std::filesystem::path& directory);
LoraOptions load_adapter(LanguageModel& model, const std::filesystem::path& directory);

}  // namespace llmcf::llm
