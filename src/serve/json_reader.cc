#include "serve/json_reader.h"

#include <fmt/format.h>

#include "core/error.h"
#include "net/http_server.h"

namespace llmcf::serve {

namespace {

constexpr size_t kShown = 60;  // bytes of a wrong value in a message

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...";
}

}  // namespace

Json parse_object(std::string_view body) {
  try {
    Json json = Json::parse(body);
    if (!json.is_object())
      throw net::HttpError(400, "the body is no JSON object, but " + shown(json));
    return json;
  } catch (const Json::exception& error) {
    throw net::HttpError(400, fmt::format("the body is not valid JSON: {}", error.what()));
  }
}

JsonReader::JsonReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (!json_.is_object())
    throw net::HttpError(400, fmt::format("'{}' is {}, expected an object", path_, shown(json_)),
                         path_);
}

std::string JsonReader::path_of(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

void JsonReader::fail(const std::string& key, const std::string& reason) const {
  throw net::HttpError(400, fmt::format("'{}' {}", path_of(key), reason), path_of(key));
}

const Json* JsonReader::find(const std::string& key) {
  asked_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> JsonReader::text(const std::string& key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(key, fmt::format("is {}, expected a text", shown(*value)));
  return value->get<std::string>();
}

std::string JsonReader::required_text(const std::string& key) {
  const auto value = text(key);
  if (!value) fail(key, "is missing");
  if (value->empty()) fail(key, "is empty");
  return *value;
}

std::optional<std::vector<std::string>> JsonReader::texts(const std::string& key, size_t most) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) fail(key, fmt::format("is {}, expected a list of texts", shown(*value)));
  if (value->size() > most)
    fail(key, fmt::format("has {} entries, at most {} are allowed", value->size(), most));
  std::vector<std::string> result;
  result.reserve(value->size());
  for (const Json& entry : *value) {
    if (!entry.is_string())
      fail(fmt::format("{}[{}]", key, result.size()),
           fmt::format("is {}, expected a text", shown(entry)));
    result.push_back(entry.get<std::string>());
  }
  return result;
}

int64_t JsonReader::integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer() || value->get<int64_t>() < low || value->get<int64_t>() > high)
    fail(key,
         fmt::format("is {}, expected a whole number from {} to {}", shown(*value), low, high));
  return value->get<int64_t>();
}

double JsonReader::number(const std::string& key, double fallback, double low, double high) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
    fail(key, fmt::format("is {}, expected a number from {} to {}", shown(*value), low, high));
  return value->get<double>();
}

bool JsonReader::flag(const std::string& key, bool fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, fmt::format("is {}, expected true or false", shown(*value)));
  return value->get<bool>();
}

std::optional<std::vector<JsonReader>> JsonReader::objects(const std::string& key, size_t most) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) fail(key, fmt::format("is {}, expected a list", shown(*value)));
  if (value->size() > most)
    fail(key, fmt::format("has {} entries, at most {} are allowed", value->size(), most));
  std::vector<JsonReader> result;
  for (const Json& entry : *value)
    result.emplace_back(entry, fmt::format("{}[{}]", path_of(key), result.size()));
  return result;
}

std::optional<JsonReader> JsonReader::object(const std::string& key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return JsonReader(*value, path_of(key));
}

std::vector<std::string> JsonReader::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json_.items())
    keys.push_back(key);
  return keys;
}

void JsonReader::finish() const {
  for (const std::string& key : keys())
    if (!asked_.contains(key))
      throw net::HttpError(400, unknown_name("field", path_of(key), {asked_.begin(), asked_.end()}),
                           path_of(key));
}

}  // namespace llmcf::serve
