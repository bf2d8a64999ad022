// The text encoder `bert`: BGE, E5, MiniLM, GTE and their like from a Hugging Face directory.
//
//   encode:
//     kind: bert
//     path: models/bge-small     # config.json, tokenizer.json (WordPiece), safetensors
//     pooling: auto              # cls | mean; auto: what 1_Pooling/config.json says, else mean
//     prefix: ""                 # before every text, e.g. "passage: " for E5
//     max_tokens: 0              # of a text, [CLS] and [SEP] included; 0 = the model's positions
//     batch_tokens: 4096         # at once, padding included
//     device: auto
//     dtype: auto
//
// Texts of similar length share a batch. No libtorch in here.
//
// Invariants:
//  1. A text's vector does not depend on what is beside it, but for rounding (1e-6).
//  2. A text without a token is the zero vector; all others have length 1.
//  3. The model stays where it is: saved is only where, and its fingerprint follows the content of
//     its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "core/config.h"
#include "text/make_encoder.h"

namespace llmcf::llm {

struct BertEncoderOptions {
  std::filesystem::path path;
  std::string pooling = "auto";
  std::string prefix = {};
  int64_t max_tokens = 0;
  int64_t batch_tokens = 4096;
  std::string device = "auto";
  std::string dtype = "auto";

  // Reads every key, and nothing of the model. Throws InputError.
  static BertEncoderOptions from(const Config& section);
};

class BertEncoder final : public text::OutsideEncoder {
 public:
  // Throws InputError naming file and part of what is missing, broken or not supported.
  explicit BertEncoder(const BertEncoderOptions& options);
  ~BertEncoder() override;

  // The fingerprint, without loading the model.
  static std::string identity(const BertEncoderOptions& options);

  int64_t dim() const override;
  std::string name() const override;
  std::string fingerprint() const override;
  void encode(std::span<const std::string_view> texts, std::span<float> out) const override;
  std::string kind() const override { return "bert"; }
  std::string section() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::llm
