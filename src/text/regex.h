// Patterns of tokenizer.json: a literal text or a regular expression (ICU's dialect, which reads
// the expressions in use like the reference's).
//
// Thread safety: find_all() is const and may be called from several threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace llmcf::text {

struct Match {
  size_t begin = 0;  // bytes
  size_t end = 0;
};

class Pattern {
 public:
  // {"String": "..."} or {"Regex": "..."}; a bare JSON string is a literal. Throws Error.
  explicit Pattern(const nlohmann::json& description);
  ~Pattern();

  // Matches in order, none overlapping, none empty. `text` is valid UTF-8.
  std::vector<Match> find_all(std::string_view text) const;

 private:
  struct Regex;
  std::string literal_;
  std::unique_ptr<const Regex> regex_;  // null = literal
};

}  // namespace llmcf::text
