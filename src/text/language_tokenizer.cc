#include "text/language_tokenizer.h"

#include "core/error.h"

namespace llmcf::text {

std::string LanguageTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids)
    text += bytes(id);
  if (leads_with_space() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::unique_ptr<LanguageTokenizer> load_language_tokenizer(const std::filesystem::path& directory) {
  for (const char* name : {"tokenizer.model", "tokenizer.json"})
    if (const auto file = directory / name; std::filesystem::exists(file))
      return file.extension() == ".model" ? load_sentencepiece(file) : load_bpe(file);
  throw InputError(directory.string(), 0,
                   "holds neither tokenizer.model (SentencePiece) nor tokenizer.json");
}

}  // namespace llmcf::text
