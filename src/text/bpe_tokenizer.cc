// `tokenizer.json` with a BPE model as a language tokenizer: byte-level (GPT-2, LLaMA 3, Qwen) or
// with byte fallback (LLaMA 2, Mistral). A byte that is not part of valid UTF-8 is a piece of its
// own.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "text/byte_level.h"
#include "text/language_tokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kSpace = "\xE2\x96\x81";

bool has_part(const Json& part, std::string_view type) {
  if (!part.is_object()) return false;
  if (part.value("type", std::string()) == type) return true;
  for (const char* list : {"pretokenizers", "normalizers", "decoders"})
    if (part.contains(list))
      for (const Json& step : part[list])
        if (has_part(step, type)) return true;
  return false;
}

class BpeTokenizer final : public LanguageTokenizer {
 public:
  explicit BpeTokenizer(const Json& json)
      : normalizer_(make_normalizer(json.value("normalizer", Json()))),
        pre_tokenizer_(make_pre_tokenizer(json.value("pre_tokenizer", Json()))),
        model_(make_token_model(json.at("model"))),
        byte_level_(has_part(json.value("pre_tokenizer", Json()), "ByteLevel")) {
    if (json.at("model").at("type") != "BPE")
      throw Error(fmt::format("model '{}' is no language model's; expected BPE",
                              json.at("model").at("type").get<std::string>()));
    for (size_t id = 0; id < model_->tokens.size(); ++id)
      bytes_.push_back(bytes_of(model_->tokens[id]));
    if (json.contains("added_tokens")) {
      for (const Json& token : json["added_tokens"]) {
        const auto id = token.at("id").get<int32_t>();
        if (id < 0 || id > (1 << 28)) throw Error(fmt::format("added token with id {}", id));
        if (static_cast<size_t>(id) >= bytes_.size()) bytes_.resize(static_cast<size_t>(id) + 1);
        bytes_[static_cast<size_t>(id)].clear();
        special_.emplace(token.at("content").get<std::string>(), id);
      }
    }
    byte_ids_.assign(256, -1);
    for (int value = 0; value < 256; ++value) {
      const std::string name = byte_level_ ? to_printable(std::string(1, static_cast<char>(value)))
                                           : fmt::format("<0x{:02X}>", value);
      const auto found = model_->vocabulary.find(name);
      if (found != model_->vocabulary.end()) byte_ids_[static_cast<size_t>(value)] = found->second;
    }
    std::string one = "a";
    if (normalizer_) normalizer_->apply(one);
    leads_ = one.starts_with(kSpace) || has_part(json.value("pre_tokenizer", Json()), "Metaspace");
  }

  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    size_t begin = 0;
    const auto flush = [&](size_t end) {
      if (end > begin) encode_valid(text.substr(begin, end - begin), begin == 0, ids);
    };
    for (size_t at = 0; at < text.size();) {
      const size_t length = valid_character(text, at);
      if (length > 0) {
        at += length;
        continue;
      }
      flush(at);
      const int32_t id = byte_ids_[static_cast<unsigned char>(text[at])];
      if (id < 0) throw Error("a text is not UTF-8 and the vocabulary has no token for its bytes");
      ids.push_back(id);
      begin = ++at;
    }
    flush(text.size());
    return ids;
  }

  std::string bytes(int32_t id) const override {
    if (id < 0 || id >= size())
      throw Error(fmt::format("token {} is outside the vocabulary of {}", id, size()));
    return bytes_[static_cast<size_t>(id)];
  }

  std::optional<int32_t> special(std::string_view name) const override {
    const auto found = special_.find(name);
    if (found == special_.end()) return std::nullopt;
    return found->second;
  }

  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  bool leads_with_space() const override { return leads_; }

 private:
  std::string bytes_of(const std::string& token) const {
    if (byte_level_) return from_printable(token).value_or(token);
    if (token.size() == 6 && token.starts_with("<0x") && token.ends_with('>'))
      return std::string(1, static_cast<char>(std::stoul(token.substr(3, 2), nullptr, 16)));
    std::string bytes = token;
    for (size_t at = 0; (at = bytes.find(kSpace, at)) != std::string::npos; ++at)
      bytes.replace(at, kSpace.size(), 1, ' ');
    return bytes;
  }

  void encode_valid(std::string_view text, bool first, std::vector<int32_t>& ids) const {
    std::string normal(text);
    if (normalizer_) normalizer_->apply(normal);
    if (!first && leads_ && normal.starts_with(kSpace)) normal.erase(0, kSpace.size());
    if (!pre_tokenizer_) return model_->tokenize(normal, ids);
    std::vector<std::string> pieces;
    pre_tokenizer_->split(normal, first, pieces);
    for (const std::string& piece : pieces)
      model_->tokenize(piece, ids);
  }

  std::unique_ptr<const Normalizer> normalizer_;
  std::unique_ptr<const PreTokenizer> pre_tokenizer_;
  std::unique_ptr<const TokenModel> model_;
  bool byte_level_;
  bool leads_ = false;
  std::vector<std::string> bytes_;  // by id; empty for special tokens
  Vocabulary special_;
  std::vector<int32_t> byte_ids_;  // by byte; -1 = none
};

}  // namespace

std::unique_ptr<LanguageTokenizer> load_bpe(const std::filesystem::path& file) {
  try {
    return std::make_unique<BpeTokenizer>(Json::parse(read_file(file)));
  } catch (const Json::exception& error) {
    throw InputError(file.string(), 0, fmt::format("not a tokenizer.json: {}", error.what()));
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw InputError(file.string(), 0, error.what());
  }
}

}  // namespace llmcf::text
