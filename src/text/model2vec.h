// Static encoders distilled from sentence transformers (model2vec): the vector of a text is the
// normalised mean of its tokens' vectors. No network, no matrix product.
//
// Reads a directory with config.json, tokenizer.json and model.safetensors. Tensors: `embeddings`
// [rows, dim] (f32 or f16); optional `mapping` [tokens] (token to row, for vocabulary-quantized
// models) and `weights` [tokens]. Unknown tokens are left out, as in the reference implementation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/encoder.h"
#include "text/tokenizer.h"

namespace llmcf::text {

class Model2Vec final : public Encoder {
 public:
  // max_tokens: only the first ones of a text count (the reference uses 512); 0 = all. Throws
  // InputError naming file and tensor if the directory is not such a model.
  static Model2Vec load(const std::filesystem::path& directory, int64_t max_tokens = 512);
  // Copies the three files, so that the copy can be loaded.
  void save(const std::filesystem::path& directory) const;

  int64_t dim() const override { return dim_; }
  std::string name() const override { return name_; }
  std::string fingerprint() const override { return fingerprint_; }
  void encode(std::span<const std::string_view> texts, std::span<float> out) const override;

  int64_t max_tokens() const { return max_tokens_; }

 private:
  explicit Model2Vec(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  void read_tensors();
  void encode_one(std::string_view text, std::span<float> out) const;

  std::filesystem::path directory_;
  Tokenizer tokenizer_;
  int64_t dim_ = 0;
  int64_t max_tokens_ = 512;
  std::vector<float> embeddings_;  // [rows, dim]
  std::vector<int32_t> rows_;      // [tokens], -1 = left out
  std::vector<float> weights_;     // [tokens]
  std::string name_;
  std::string fingerprint_;
};

}  // namespace llmcf::text
