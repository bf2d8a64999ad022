// The parts a tokenizer is made of, read from the objects of a `tokenizer.json`.
//
// Texts between the parts are valid UTF-8. Errors name the part; Tokenizer::load adds the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

namespace llmcf::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(std::string& text) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Splits (and may rewrite) one piece. `first`: it begins where the text begins.
  virtual void split(std::string_view piece, bool first, std::vector<std::string>& out) const = 0;
};

// From a token to its id, without copying the looked-up text.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

// Bytes of the character that begins with `lead`, in valid UTF-8.
inline size_t character_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of one piece.
  virtual void tokenize(std::string_view piece, std::vector<int32_t>& ids) const = 0;

  Vocabulary vocabulary;
  std::vector<std::string> tokens;  // by id
  int32_t unknown = -1;             // -1 = none
};

// Null for a JSON null. Throw Error naming the part that is missing, broken or not supported.
std::unique_ptr<const Normalizer> make_normalizer(const nlohmann::json& description);
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const nlohmann::json& description);
std::unique_ptr<const TokenModel> make_token_model(const nlohmann::json& description);

}  // namespace llmcf::text
