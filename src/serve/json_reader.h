// A request's JSON, read strictly: every mistake is an HttpError 400 that names the field by its
// path ("requests[2].candidates"), what is there and what is expected.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace llmcf::serve {

using Json = nlohmann::ordered_json;

// The object in a body. Throws HttpError 400 if it is none.
Json parse_object(std::string_view body);

class JsonReader {
 public:
  // `json` must outlive this. Throws unless it is an object.
  explicit JsonReader(const Json& json, std::string path = "");

  bool has(const std::string& key) const { return json_.contains(key); }
  std::optional<std::string> text(const std::string& key);
  std::string required_text(const std::string& key);  // not empty
  std::optional<std::vector<std::string>> texts(const std::string& key, size_t most);
  int64_t integer(const std::string& key, int64_t fallback, int64_t low, int64_t high);
  double number(const std::string& key, double fallback, double low, double high);
  bool flag(const std::string& key, bool fallback);
  // The objects in a list, with their paths.
  std::optional<std::vector<JsonReader>> objects(const std::string& key, size_t most);
  // The object below a key.
  std::optional<JsonReader> object(const std::string& key);
  std::vector<std::string> keys() const;

  // Throws for a key that was not asked for, naming the nearest one that was.
  void finish() const;
  std::string path_of(const std::string& key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& reason) const;

 private:
  const Json* find(const std::string& key);

  const Json& json_;
  std::string path_;
  std::set<std::string> asked_;
};

}  // namespace llmcf::serve
