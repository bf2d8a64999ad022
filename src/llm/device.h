// Devices, dtypes and chat templates by the names that configurations use.
#pragma once

#include <filesystem>
#include <string>

#include <torch/types.h>

#include "llm/chat_template.h"

namespace llmcf::llm {

// auto (CUDA if there is one), cpu, cuda, cuda:1, ... Throws Error if there is none.
torch::Device device_named(const std::string& name);
// auto (float32 on cpu, else bfloat16), float32, bfloat16, float16.
torch::Dtype dtype_named(const std::string& name, torch::Device device);
// auto: by tokenizer_config.json and by which special tokens the tokenizer has; else plain.
ChatTemplate chat_template_of(const std::string& name, const std::filesystem::path& model,
                              const text::LanguageTokenizer& tokenizer);

}  // namespace llmcf::llm
