// SentencePiece models as language tokenizers, through the library of that name.
//
// A byte that is not part of valid UTF-8 would reach the library's normaliser as U+FFFD. It goes in
// as a character of a private-use range that the text does not use, which no vocabulary knows, so
// that it comes out as that character's four byte tokens, which become the byte's own.
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "core/error.h"
#include "text/language_tokenizer.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // how pieces write a space
constexpr char32_t kPrivate = 0xF0000, kPrivateEnd = 0xFFF00;
constexpr size_t kPrivateBytes = 4;

class SentencePiece final : public LanguageTokenizer {
 public:
  explicit SentencePiece(const std::filesystem::path& file) {
    const auto status = processor_.Load(file.string());
    if (!status.ok())
      throw InputError(file.string(), 0,
                       fmt::format("not a SentencePiece model: {}", status.ToString()));
    byte_ids_.fill(-1);
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      std::string bytes;
      if (processor_.IsByte(id)) {
        const auto value = std::stoul(processor_.IdToPiece(id).substr(3, 2), nullptr, 16);
        byte_ids_[value] = id;
        bytes.push_back(static_cast<char>(value));
      } else if (!processor_.IsControl(id)) {
        bytes = processor_.IdToPiece(id);
        for (size_t at = 0; (at = bytes.find(kSpace, at)) != std::string::npos; ++at)
          bytes.replace(at, kSpace.size(), " ");
        if (processor_.IsUnknown(id)) bytes = "\xEF\xBF\xBD";
      }
      bytes_.push_back(std::move(bytes));
    }
    leads_ = !processor_.EncodeAsPieces("a").empty() &&
             processor_.EncodeAsPieces("a").front().starts_with(kSpace);
  }

  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const std::u32string characters = text::decode(text);
    const std::string valid = encode_utf8(characters);
    if (valid == text) {
      processor_.Encode({text.data(), text.size()}, &ids);
      return {ids.begin(), ids.end()};
    }
    const char32_t base = unused_range(characters);
    processor_.Encode(with_private_bytes(text, base), &ids);
    return with_own_bytes(ids, base);
  }

  std::string bytes(int32_t id) const override {
    if (id < 0 || id >= size())
      throw Error(fmt::format("token {} is outside the vocabulary of {}", id, size()));
    return bytes_[static_cast<size_t>(id)];
  }

  std::optional<int32_t> special(std::string_view name) const override {
    const int id = processor_.PieceToId({name.data(), name.size()});
    if (id == processor_.unk_id() && name != processor_.IdToPiece(id)) return std::nullopt;
    if (!processor_.IsControl(id) && !processor_.IsUnknown(id)) return std::nullopt;
    return id;
  }

  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  bool leads_with_space() const override { return leads_; }

 private:
  // The first 256 private characters of which the text uses none.
  static char32_t unused_range(const std::u32string& characters) {
    for (char32_t base = kPrivate; base < kPrivateEnd; base += 256) {
      const auto in_range = [base](char32_t c) { return c >= base && c < base + 256; };
      if (std::none_of(characters.begin(), characters.end(), in_range)) return base;
    }
    throw Error("a text uses the whole private range of Unicode and is not UTF-8");
  }

  static std::string with_private_bytes(std::string_view text, char32_t base) {
    std::string result;
    for (size_t at = 0; at < text.size();) {
      const size_t length = valid_character(text, at);
      if (length == 0) {
        append_utf8(base + static_cast<unsigned char>(text[at++]), result);
      } else {
        result += text.substr(at, length);
        at += length;
      }
    }
    return result;
  }

  std::vector<int32_t> with_own_bytes(const std::vector<int>& ids, char32_t base) const {
    std::vector<int32_t> result;
    for (size_t at = 0; at < ids.size();) {
      std::string four;
      for (size_t i = at; i < ids.size() && i < at + kPrivateBytes && processor_.IsByte(ids[i]);
           ++i)
        four += bytes_[static_cast<size_t>(ids[i])];
      const auto one = four.size() == kPrivateBytes ? text::decode(four) : std::u32string();
      if (one.size() == 1 && one[0] >= base && one[0] < base + 256) {
        result.push_back(byte_ids_[one[0] - base]);
        at += kPrivateBytes;
      } else {
        result.push_back(ids[at++]);
      }
    }
    return result;
  }

  sentencepiece::SentencePieceProcessor processor_;
  std::vector<std::string> bytes_;     // by id
  std::array<int32_t, 256> byte_ids_;  // -1 = the vocabulary has no byte tokens
  bool leads_ = false;
};

}  // namespace

std::unique_ptr<LanguageTokenizer> load_sentencepiece(const std::filesystem::path& file) {
  return std::make_unique<SentencePiece>(file);
}

}  // namespace llmcf::text
