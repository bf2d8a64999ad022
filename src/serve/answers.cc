#include "serve/answers.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace llmcf::serve {

namespace {

using Json = nlohmann::ordered_json;

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_text(std::string_view text, std::string& out) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c < 127 && c != '"' && c != '\\';
  });
  if (plain) {
    out += '"';
    out += text;
    out += '"';
  } else {
    out += dumped(text);
  }
}

void append_score(const Ranked& answer, double score, std::string& text) {
  if (!answer.products)
    fmt::format_to(std::back_inserter(text), R"(,"score":{:.7g}}})", score);
  else if (std::isfinite(score))
    fmt::format_to(std::back_inserter(text), R"(,"score":{:.9g}}})", score);
  else
    text += ",\"score\":null}";
}

// Written by hand: a thousand items as a tree of JSON values take longer than their scores.
void append(const Ranked& answer, std::string& text) {
  fmt::format_to(std::back_inserter(text),
                 R"({{"bundle":"{}","release":"{}","known_user":{},"history":{},"fallback":)",
                 answer.bundle, answer.release, answer.known_user, answer.history);
  text += answer.fallback ? dumped(*answer.fallback) : "null";
  if (answer.unknown_history > 0)
    fmt::format_to(std::back_inserter(text), R"(,"unknown_history":{})", answer.unknown_history);
  if (!answer.first_stage.empty())
    fmt::format_to(std::back_inserter(text), R"(,"first_stage":"{}")", answer.first_stage);
  if (!answer.unknown_candidates.empty())
    text += ",\"unknown_candidates\":" + dumped(answer.unknown_candidates);
  text += ",\"items\":[";
  const char* separator = "";
  for (const Ranked::Item& item : answer.items) {
    text += separator;
    text += "{\"item\":";
    append_text(item.name, text);
    append_score(answer, item.score, text);
    separator = ",";
  }
  text += "]}";
}

}  // namespace

std::string json_text(const RankedAnswers& answers) {
  std::string text;
  if (!answers.batch) {
    append(answers.each.front(), text);
    return text;
  }
  text = "{\"responses\":[";
  for (const Ranked& answer : answers.each) {
    if (!text.ends_with('[')) text += ',';
    append(answer, text);
  }
  return text + "]}";
}

}  // namespace llmcf::serve
