#include "text/language_tokenizer.h"

namespace llmcf::text {

std::string LanguageTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids)
    text += bytes(id);
  if (leads_with_space() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace llmcf::text
