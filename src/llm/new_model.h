// Model directories that no training has touched yet, and directories in another dtype.
// No libtorch in here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace llmcf::llm {

// A LLaMA with tied embeddings.
struct NewModel {
  std::filesystem::path tokenizer;  // tokenizer.model; the model's vocabulary is its size
  int64_t hidden = 160;
  int64_t intermediate = 432;
  int64_t layers = 6;
  int64_t heads = 5;  // also key/value heads; `hidden` / `heads` is even
  int64_t positions = 1024;
  uint64_t seed = 2023;  // of the weights: see LanguageModel::initialise
};

// Writes config.json, fp32 weights, tokenizer.model and a tokenizer_config.json that names its
// specials. Returns the number of parameters. Throws Error naming what does not fit.
int64_t new_model(const NewModel& what, const std::filesystem::path& directory);

// The same model with weights in another dtype: float32, bfloat16 or float16.
void convert(const std::filesystem::path& model, const std::string& dtype,
             const std::filesystem::path& directory);

}  // namespace llmcf::llm
