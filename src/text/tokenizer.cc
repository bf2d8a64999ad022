#include "text/tokenizer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace llmcf::text {

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  try {
    const auto json = nlohmann::json::parse(read_file(path));
    Tokenizer tokenizer;
    tokenizer.normalizer_ = make_normalizer(json.value("normalizer", nlohmann::json()));
    tokenizer.pre_tokenizer_ = make_pre_tokenizer(json.value("pre_tokenizer", nlohmann::json()));
    tokenizer.model_ = make_token_model(json.at("model"));
    return tokenizer;
  } catch (const nlohmann::json::exception& error) {
    throw InputError(path.string(), 0, fmt::format("not a tokenizer.json: {}", error.what()));
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw InputError(path.string(), 0, error.what());
  }
}

std::vector<std::string> Tokenizer::pieces(std::string_view text) const {
  std::string normal = replace_invalid(text);
  if (normalizer_) normalizer_->apply(normal);
  std::vector<std::string> pieces;
  if (normal.empty()) return pieces;
  if (pre_tokenizer_) {
    pre_tokenizer_->split(normal, true, pieces);
  } else {
    pieces.push_back(std::move(normal));
  }
  return pieces;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  for (const std::string& piece : pieces(text))
    model_->tokenize(piece, ids);
  return ids;
}

int64_t Tokenizer::size() const {
  return static_cast<int64_t>(model_->tokens.size());
}

const std::string& Tokenizer::token(int32_t id) const {
  LLMCF_ASSERT(id >= 0 && id < size());
  return model_->tokens[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id(std::string_view token) const {
  const auto found = model_->vocabulary.find(token);
  if (found == model_->vocabulary.end()) return std::nullopt;
  return found->second;
}

std::optional<int32_t> Tokenizer::unknown_id() const {
  if (model_->unknown < 0) return std::nullopt;
  return model_->unknown;
}

}  // namespace llmcf::text
