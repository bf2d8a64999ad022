// Reads answers of /v1/chat/completions, whole or streamed; other keys than ours are ignored.
#include "cot/chat_answer.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/strings.h"

namespace llmcf::cot {

namespace {

using Json = nlohmann::json;

// choices[i].logprobs.content[0].top_logprobs
void read_first_token(const Json& entry, std::vector<TokenOdds>& odds) {
  const auto logprobs = entry.find("logprobs");
  if (logprobs == entry.end() || !logprobs->is_object()) return;
  const auto content = logprobs->find("content");
  if (content == logprobs->end() || !content->is_array() || content->empty()) return;
  const auto top = content->front().find("top_logprobs");
  if (top == content->front().end() || !top->is_array()) return;
  for (const Json& one : *top)
    odds.push_back({.token = one.at("token"), .logprob = one.at("logprob")});
}

// "Yes" of " yes", "\u2581YES" and other spellings of one word.
std::string word_of(std::string_view token) {
  std::string word;
  for (const char c : token)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) word += c;
  return to_lower(word);
}

// Reads the choices' member `part` ("message" or "delta"). False if the shape is wrong.
bool read_choices(const Json& body, const char* part, std::map<int64_t, ChatChoice>& choices) {
  const auto list = body.find("choices");
  if (list == body.end() || !list->is_array()) return false;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return false;
    ChatChoice& choice = choices[entry.value(
        "index", static_cast<int64_t>(std::string_view(part) == "message" ? choices.size() : 0))];
    if (const auto message = entry.find(part); message != entry.end() && message->is_object()) {
      const auto content = message->find("content");
      if (content != message->end() && content->is_string()) {
        choice.text += content->get_ref<const std::string&>();
        choice.has_text = true;
      }
    }
    read_first_token(entry, choice.first_token);
    const auto finish = entry.find("finish_reason");
    if (finish != entry.end() && finish->is_string()) choice.finish_reason = *finish;
  }
  return true;
}

std::optional<ChatUsage> read_usage(const Json& body) {
  const auto usage = body.find("usage");
  if (usage == body.end() || !usage->is_object()) return std::nullopt;
  ChatUsage read{.prompt_tokens = usage->value("prompt_tokens", int64_t{-1}),
                 .completion_tokens = usage->value("completion_tokens", int64_t{-1})};
  if (read.prompt_tokens < 0 || read.completion_tokens < 0) return std::nullopt;
  return read;
}

}  // namespace

bool ChatAnswer::refuse(const char* why) {
  why_ = why;
  return false;
}

bool ChatAnswer::read(std::string_view text) {
  try {
    const Json body = Json::parse(text);
    if (!body.is_object()) return refuse("bad_answer");
    if (!read_choices(body, "message", choices_)) return refuse("bad_answer");
    usage_ = read_usage(body);
  } catch (const Json::parse_error&) {
    return refuse("broken_json");
  } catch (const Json::exception&) {
    return refuse("bad_answer");
  }
  return true;
}

bool ChatAnswer::read_event(std::string_view data) {
  try {
    const Json body = Json::parse(data);
    if (!body.is_object()) return refuse("bad_answer");
    if (body.contains("error")) return refuse("stream_error");
    if (body.contains("choices") && !read_choices(body, "delta", choices_))
      return refuse("bad_answer");
    if (const auto usage = read_usage(body)) usage_ = usage;
  } catch (const Json::parse_error&) {
    return refuse("broken_json");
  } catch (const Json::exception&) {
    return refuse("bad_answer");
  }
  return true;
}

bool ChatAnswer::finish_stream(bool done) {
  if (!why_.empty()) return false;
  bool all_finished = !choices_.empty();
  for (const auto& [index, choice] : choices_)
    all_finished = all_finished && !choice.finish_reason.empty();
  return done || all_finished || refuse("cut_stream");
}

std::vector<ChatChoice> ChatAnswer::take_choices() {
  std::vector<ChatChoice> taken;
  for (auto& [index, choice] : choices_)
    if (choice.has_text) taken.push_back(std::move(choice));
  choices_.clear();
  return taken;
}

std::optional<YesNo> read_verdict(const std::vector<TokenOdds>& first_token) {
  double yes = 0, no = 0, least = 0;
  for (const TokenOdds& odds : first_token) {
    const std::string word = word_of(odds.token);
    if (word == "yes") yes += std::exp(odds.logprob);
    if (word == "no") no += std::exp(odds.logprob);
    least = std::min(least, odds.logprob);
  }
  if (yes == 0 && no == 0) return std::nullopt;
  return YesNo{.yes = yes > 0 ? std::log(yes) : least, .no = no > 0 ? std::log(no) : least};
}

std::string without_thinking(const std::string& text) {
  const std::string_view trimmed = trim(text);
  constexpr std::string_view kBegin = "<think>";
  constexpr std::string_view kEnd = "</think>";
  if (!trimmed.starts_with(kBegin)) return std::string(trimmed);
  const size_t end = trimmed.find(kEnd);
  if (end == std::string_view::npos) return "";  // it never got to an answer
  return std::string(trim(trimmed.substr(end + kEnd.size())));
}

}  // namespace llmcf::cot
