// Tokenizers of language models: any text to ids and back, byte for byte.
//
// Invariants:
//  1. decode(encode(text)) == text for every text, also one that is not UTF-8, where the vocabulary
//     has byte tokens (all supported models do) and its normaliser keeps the text (it usually
//     does); SentencePiece writes a space as U+2581, so that this character comes back as a space.
//  2. A text is data: names of special tokens in it are ordinary characters. Special tokens enter
//     only by special().
//  3. encode() and decode() are const and may be called from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf::text {

class LanguageTokenizer {
 public:
  virtual ~LanguageTokenizer() = default;

  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  // What an id adds to a text; nothing for special tokens. Throws Error unless 0 <= id < size().
  virtual std::string bytes(int32_t id) const = 0;
  // The id of a special token such as "</s>" or "<|im_end|>".
  virtual std::optional<int32_t> special(std::string_view name) const = 0;
  virtual int64_t size() const = 0;
  // Whether encode() puts a space before the text (SentencePiece); decode() takes one away.
  virtual bool leads_with_space() const { return false; }

  std::string decode(std::span<const int32_t> ids) const;
};

// SentencePiece `tokenizer.model`. Throws InputError naming the file.
std::unique_ptr<LanguageTokenizer> load_sentencepiece(const std::filesystem::path& file);

// Byte-level BPE or BPE with byte fallback, `tokenizer.json`. Throws InputError naming the file and
// the part that is missing, broken or not supported.
std::unique_ptr<LanguageTokenizer> load_bpe(const std::filesystem::path& file);

// What a model directory holds: tokenizer.model if there is one, else tokenizer.json.
std::unique_ptr<LanguageTokenizer> load_language_tokenizer(const std::filesystem::path& directory);

}  // namespace llmcf::text
