// Encoders of the BERT family (BGE, E5, MiniLM, GTE) from Hugging Face directories.
//
//   B texts   T tokens   D hidden width
//
// Invariant: a text's vector does not depend on the padding behind it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include <torch/types.h>

namespace llmcf::llm {

struct BertConfig {
  int64_t hidden = 0, intermediate = 0, layers = 0, heads = 0;
  int64_t vocabulary = 0, positions = 0, types = 0;
  double norm_epsilon = 1e-12;

  // Throws InputError naming the file, the key and what is supported.
  static BertConfig load(const std::filesystem::path& directory);
};

enum class Pooling { kFirst, kMean };  // the first token's vector, or the mean over real tokens

class BertModel {
 public:
  // Reads config.json and the weights, with or without the prefix "bert.". Throws InputError.
  static BertModel load(const std::filesystem::path& directory, torch::Dtype dtype,
                        torch::Device device);

  const BertConfig& config() const { return config_; }
  // ids and mask int64 [B, T], mask 1 = a token; -> the last layer's states [B, T, D].
  torch::Tensor states(const torch::Tensor& ids, const torch::Tensor& mask) const;
  // Unit vectors [B, D], fp32.
  static torch::Tensor pooled(const torch::Tensor& states, const torch::Tensor& mask,
                              Pooling pooling);

 private:
  BertModel() = default;
  torch::Tensor linear(const std::string& name, const torch::Tensor& x) const;
  torch::Tensor norm(const std::string& name, const torch::Tensor& x) const;

  BertConfig config_;
  std::map<std::string, torch::Tensor> weights_;  // by name without prefix
};

}  // namespace llmcf::llm
