#include "llm/openai_answer.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "text/unicode.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::ordered_json;

Json bytes_of(std::string_view text) {
  Json bytes = Json::array();
  for (const char byte : text)
    bytes.push_back(static_cast<unsigned char>(byte));
  return bytes;
}

Json named(std::string_view bytes, float log_probability) {
  return {{"token", text::replace_invalid(bytes)},
          {"logprob", log_probability},
          {"bytes", bytes_of(bytes)}};
}

// Of an answer whose first token ended it: that token adds no text, its alternatives are known.
Json end_entry(const Generation& generation) {
  float own = generation.verdicts.front().second;
  for (const auto& [text, log_probability] : generation.verdicts)
    if (text.empty()) {
      own = log_probability;
      break;
    }
  Json entry = named("", own);
  entry["top_logprobs"] = Json::array();
  for (const auto& [text, log_probability] : generation.verdicts)
    entry["top_logprobs"].push_back(named(text, log_probability));
  return entry;
}

}  // namespace

OpenAiAnswer::OpenAiAnswer(const OpenAiRequest& request, const text::LanguageTokenizer& tokenizer,
                           const std::string& model, const std::string& id)
    : request_(request),
      tokenizer_(tokenizer),
      model_(model),
      id_((request.chat ? "chatcmpl-" : "cmpl-") + id),
      created_(static_cast<int64_t>(std::time(nullptr))),
      offsets_(static_cast<size_t>(request.choices())) {}

Json OpenAiAnswer::envelope(bool chunk) const {
  const char* kind = !request_.chat ? "text_completion"
                     : chunk        ? "chat.completion.chunk"
                                    : "chat.completion";
  return {{"id", id_}, {"object", kind}, {"created", created_}, {"model", model_}};
}

Json OpenAiAnswer::entry_of(int32_t id, float log_probability) const {
  return named(id < tokenizer_.size() ? tokenizer_.bytes(id) : "", log_probability);
}

// Chat: {"content": [{token, logprob, bytes, top_logprobs}]}; completions: four lists.
Json OpenAiAnswer::scores_of(const std::vector<TokenScore>& scores, size_t& offset) const {
  if (request_.settings.log_probabilities < 0) return nullptr;
  if (request_.chat) {
    Json content = Json::array();
    for (const TokenScore& score : scores) {
      Json entry = entry_of(score.id, score.log_probability);
      entry["top_logprobs"] = Json::array();
      for (const auto& [id, log_probability] : score.alternatives)
        entry["top_logprobs"].push_back(entry_of(id, log_probability));
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
  Json tokens = Json::array(), own = Json::array(), top = Json::array(), offsets = Json::array();
  for (const TokenScore& score : scores) {
    const std::string bytes = tokenizer_.bytes(score.id);
    tokens.push_back(text::replace_invalid(bytes));
    own.push_back(score.log_probability);
    Json alternatives = Json::object();
    for (const auto& [id, log_probability] : score.alternatives)
      alternatives[text::replace_invalid(tokenizer_.bytes(id))] = log_probability;
    top.push_back(std::move(alternatives));
    offsets.push_back(offset);
    offset += bytes.size();
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(own)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

Json OpenAiAnswer::counts(const std::vector<Generation>& generations) const {
  int64_t prompts = 0, answers = 0;
  for (size_t choice = 0; choice < generations.size(); ++choice) {
    // A prompt that is answered n times is read once, as its user sees it.
    if (static_cast<int64_t>(choice) % request_.n == 0)
      prompts += generations[choice].prompt_tokens;
    answers += static_cast<int64_t>(generations[choice].ids.size());
  }
  return {{"prompt_tokens", prompts},
          {"completion_tokens", answers},
          {"total_tokens", prompts + answers}};
}

Json OpenAiAnswer::whole(const std::vector<Generation>& generations) const {
  Json choices = Json::array();
  for (size_t choice = 0; choice < generations.size(); ++choice) {
    const Generation& generation = generations[choice];
    Json entry = {{"index", choice}};
    const std::string text = text::replace_invalid(generation.text);
    if (request_.chat) {
      entry["message"] = {{"role", "assistant"}, {"content", text}};
    } else {
      entry["text"] = text;
    }
    size_t offset = 0;
    entry["logprobs"] = scores_of(generation.scores, offset);
    if (request_.chat && generation.scores.empty() && !generation.verdicts.empty())
      entry["logprobs"]["content"].push_back(end_entry(generation));
    entry["finish_reason"] = finish_name(generation.finish);
    choices.push_back(std::move(entry));
  }
  Json answer = envelope(false);
  answer["choices"] = std::move(choices);
  answer["usage"] = counts(generations);
  return answer;
}

Json OpenAiAnswer::chunk_of(Json choice) const {
  Json chunk = envelope(true);
  chunk["choices"] = Json::array({std::move(choice)});
  if (request_.include_usage) chunk["usage"] = nullptr;
  return chunk;
}

Json OpenAiAnswer::begin(int64_t choice) const {
  return chunk_of({{"index", choice},
                   {"delta", {{"role", "assistant"}, {"content", ""}}},
                   {"logprobs", nullptr},
                   {"finish_reason", nullptr}});
}

Json OpenAiAnswer::piece(int64_t choice, std::string_view text,
                         const std::vector<TokenScore>& scores) {
  Json entry = {{"index", choice}};
  if (request_.chat) {
    entry["delta"] = {{"content", text::replace_invalid(text)}};
  } else {
    entry["text"] = text::replace_invalid(text);
  }
  entry["logprobs"] = scores_of(scores, offsets_[static_cast<size_t>(choice)]);
  entry["finish_reason"] = nullptr;
  return chunk_of(std::move(entry));
}

Json OpenAiAnswer::end(int64_t choice, const Generation& generation) const {
  Json entry = {{"index", choice}};
  if (request_.chat) {
    entry["delta"] = Json::object();
  } else {
    entry["text"] = "";
  }
  entry["logprobs"] = nullptr;
  if (request_.chat && generation.scores.empty() && !generation.verdicts.empty())
    entry["logprobs"] = {{"content", {end_entry(generation)}}, {"refusal", nullptr}};
  entry["finish_reason"] = finish_name(generation.finish);
  return chunk_of(std::move(entry));
}

Json OpenAiAnswer::usage(const std::vector<Generation>& generations) const {
  Json chunk = envelope(true);
  chunk["choices"] = Json::array();
  chunk["usage"] = counts(generations);
  return chunk;
}

}  // namespace llmcf::llm
