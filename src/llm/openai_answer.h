// Answers in OpenAI's shapes, from what an engine made. No libtorch.
//
// Invariant: every text is valid UTF-8; bytes that are not become U+FFFD.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "llm/generation.h"
#include "llm/openai_request.h"

namespace llmcf::llm {

class OpenAiAnswer {
 public:
  using Json = nlohmann::ordered_json;

  // `id` names the answer. Keeps references to all but the id.
  OpenAiAnswer(const OpenAiRequest& request, const text::LanguageTokenizer& tokenizer,
               const std::string& model, const std::string& id);

  // The whole answer; `generations` by choice.
  Json whole(const std::vector<Generation>& generations) const;

  // Pieces of a stream.
  Json begin(int64_t choice) const;  // chat only
  Json piece(int64_t choice, std::string_view text, const std::vector<TokenScore>& scores);
  Json end(int64_t choice, const Generation& generation) const;
  Json usage(const std::vector<Generation>& generations) const;

 private:
  Json envelope(bool chunk) const;
  Json chunk_of(Json choice) const;
  Json scores_of(const std::vector<TokenScore>& scores, size_t& offset) const;
  Json entry_of(int32_t id, float log_probability) const;
  Json counts(const std::vector<Generation>& generations) const;

  const OpenAiRequest& request_;
  const text::LanguageTokenizer& tokenizer_;
  const std::string& model_;
  const std::string id_;
  const int64_t created_;
  std::vector<size_t> offsets_;  // bytes of each choice's streamed tokens
};

}  // namespace llmcf::llm
