// Tokenizers described by a Hugging Face `tokenizer.json`: normalise, split, look up.
//
// Supported: models BPE, Unigram and WordPiece; normalisers BertNormalizer, Lowercase, NFC, NFD,
// NFKC, NFKD, StripAccents, Strip, Replace, Prepend, Sequence; pre-tokenizers Metaspace,
// BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Punctuation, Digits, Split, Sequence.
// Anything else is an error that names file and part. Post-processors (added [CLS] and the like),
// truncation and padding are not applied. Special tokens in a text are plain text: catalogue text
// is not trusted.
//
// Thread safety: encode() is const and may be called from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf::text {

class Normalizer;
class PreTokenizer;
class TokenModel;

class Tokenizer {
 public:
  // Throws InputError naming the file and the part that is missing, broken or not supported.
  static Tokenizer load(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Token ids in order. Bytes that are not UTF-8 are read as U+FFFD.
  std::vector<int32_t> encode(std::string_view text) const;
  // The text that the model sees: normalised, split.
  std::vector<std::string> pieces(std::string_view text) const;

  int64_t size() const;
  const std::string& token(int32_t id) const;
  std::optional<int32_t> id(std::string_view token) const;
  std::optional<int32_t> unknown_id() const;

 private:
  Tokenizer();

  std::unique_ptr<const Normalizer> normalizer_;       // null = none
  std::unique_ptr<const PreTokenizer> pre_tokenizer_;  // null = none
  std::unique_ptr<const TokenModel> model_;
};

}  // namespace llmcf::text
