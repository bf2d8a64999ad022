// A tokenizer whose tokens are bytes, for tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/language_tokenizer.h"

namespace llmcf::llm::testing {

// Ids 0, 1, 2 are <unk>, <s>, </s>; byte b is 3 + b.
class ByteTokenizer final : public text::LanguageTokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    for (const char byte : text)
      ids.push_back(3 + static_cast<unsigned char>(byte));
    return ids;
  }
  std::string bytes(int32_t id) const override {
    return id < 3 ? "" : std::string(1, static_cast<char>(id - 3));
  }
  std::optional<int32_t> special(std::string_view name) const override {
    if (name == "<s>") return 1;
    if (name == "</s>") return 2;
    return std::nullopt;
  }
  int64_t size() const override { return 259; }
};

}  // namespace llmcf::llm::testing
