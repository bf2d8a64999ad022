// Reads answers of /v1/chat/completions, whole or streamed; other keys than ours are ignored.
#include "cot/chat_answer.h"

#include <nlohmann/json.hpp>

#include "core/strings.h"

namespace llmcf::cot {

namespace {

using Json = nlohmann::json;

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
