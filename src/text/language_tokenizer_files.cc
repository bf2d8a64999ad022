// Which tokenizer a model directory holds.
#include "core/error.h"
#include "text/language_tokenizer.h"

namespace llmcf::text {

std::unique_ptr<LanguageTokenizer> load_language_tokenizer(const std::filesystem::path& directory) {
  for (const char* name : {"tokenizer.model", "tokenizer.json"})
    if (const auto file = directory / name; std::filesystem::exists(file))
      return file.extension() == ".model" ? load_sentencepiece(file) : load_bpe(file);
  throw InputError(directory.string(), 0,
                   "holds neither tokenizer.model (SentencePiece) nor tokenizer.json");
}

}  // namespace llmcf::text
