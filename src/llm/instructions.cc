#include "llm/instructions.h"

#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/strings.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::json;

// One entry of a file; errors say which.
class Entry {
 public:
  Entry(const Json& json, const std::string& file, int64_t line, int64_t number)
      : json_(json), file_(file), line_(line), number_(number) {}

  Conversation read() const {
    if (!json_.is_object()) fail("is not an object");
    Conversation result;
    if (json_.contains("instruction")) {
      result = alpaca();
    } else if (json_.contains("conversations")) {
      result = turns(json_["conversations"], "conversations", "from", "value");
    } else if (json_.contains("messages")) {
      result = turns(json_["messages"], "messages", "role", "content");
    } else {
      fail(
          "has neither 'instruction' (Alpaca) nor 'conversations' (ShareGPT, LIMA) nor 'messages'");
    }
    check(result);
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw InputError(file_, line_, fmt::format("entry {} {}", number_, reason));
  }

  std::string text(const Json& from, const char* key,
                   std::optional<std::string> absent = {}) const {
    if (!from.contains(key) || from[key].is_null()) {
      if (!absent) fail(fmt::format("has no '{}'", key));
      return *absent;
    }
    if (!from[key].is_string()) fail(fmt::format("has a '{}' that is no text", key));
    return from[key].get<std::string>();
  }

  Conversation alpaca() const {
    Conversation result;
    if (const auto system = text(json_, "system", ""); !system.empty())
      result.turns.push_back({Role::kSystem, system});
    if (json_.contains("history") && json_["history"].is_array()) {
      for (const Json& pair : json_["history"]) {
        if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
          fail("has a 'history' that is no list of pairs of texts");
        result.turns.push_back({Role::kUser, pair[0].get<std::string>()});
        result.turns.push_back({Role::kAssistant, pair[1].get<std::string>()});
      }
    }
    const auto input = text(json_, "input", "");
    result.turns.push_back(
        {Role::kUser, text(json_, "instruction") + (input.empty() ? "" : "\n" + input)});
    // The published recommendation data capitalises it.
    result.turns.push_back(
        {Role::kAssistant, text(json_, json_.contains("Output") ? "Output" : "output")});
    return result;
  }

  Conversation turns(const Json& list, const char* name, const char* who, const char* what) const {
    if (!list.is_array()) fail(fmt::format("has '{}' that are no list", name));
    Conversation result;
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i].is_string()) {
        result.turns.push_back(
            {i % 2 == 0 ? Role::kUser : Role::kAssistant, list[i].get<std::string>()});
      } else if (list[i].is_object()) {
        result.turns.push_back({role(text(list[i], who)), text(list[i], what)});
      } else {
        fail(fmt::format("has a turn {} that is neither a text nor an object", i + 1));
      }
    }
    return result;
  }

  Role role(const std::string& name) const {
    if (name == "system") return Role::kSystem;
    if (name == "human" || name == "user") return Role::kUser;
    if (name == "gpt" || name == "assistant") return Role::kAssistant;
    fail(fmt::format("has a turn of '{}'; known: system, human or user, gpt or assistant", name));
  }

  void check(const Conversation& conversation) const {
    size_t first = 0;
    const auto& all = conversation.turns;
    if (!all.empty() && all[0].role == Role::kSystem) first = 1;
    if (all.size() < first + 2) fail("has no answer to learn");
    for (size_t i = first; i < all.size(); ++i) {
      const Role expected = (i - first) % 2 == 0 ? Role::kUser : Role::kAssistant;
      if (all[i].role != expected)
        fail(
            fmt::format("has a turn {} of the wrong side: user and assistant alternate, the user "
                        "first",
                        i + 1));
    }
    if (all.back().role != Role::kAssistant) fail("ends with a question");
  }

  const Json& json_;
  const std::string& file_;
  int64_t line_;
  int64_t number_;
};

std::vector<Conversation> documents(const std::string& content) {
  std::vector<Conversation> result;
  std::string document;
  const auto finish = [&] {
    if (!document.empty()) result.push_back({{{Role::kAssistant, std::move(document)}}});
    document.clear();
  };
  for (const std::string_view line : split(content, '\n')) {
    if (trim(line).empty()) {
      finish();
    } else {
      if (!document.empty()) document += '\n';
      document += line;
    }
  }
  finish();
  return result;
}

}  // namespace

std::vector<Conversation> read_conversations(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  const std::string name = file.string();
  std::vector<Conversation> result;
  const auto begin = content.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) throw InputError(name, 0, "is empty");
  if (file.extension() == ".txt") return documents(content);
  if (content[begin] == '[') {
    Json json;
    try {
      json = Json::parse(content);
    } catch (const Json::exception& error) {
      throw InputError(name, 0, fmt::format("not JSON: {}", error.what()));
    }
    for (const Json& entry : json)
      result.push_back(Entry(entry, name, 0, static_cast<int64_t>(result.size()) + 1).read());
  } else {
    int64_t line = 0;
    for (const std::string_view text : split(content, '\n')) {
      ++line;
      if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      Json json;
      try {
        json = Json::parse(text);
      } catch (const Json::exception& error) {
        throw InputError(name, line, fmt::format("not JSON: {}", error.what()));
      }
      result.push_back(Entry(json, name, line, static_cast<int64_t>(result.size()) + 1).read());
    }
  }
  if (result.empty()) throw InputError(name, 0, "holds no conversation");
  return result;
}

std::vector<Pick> mix(const std::vector<int64_t>& sizes, const std::vector<double>& weights,
                      int64_t total, uint64_t seed) {
  if (!weights.empty() && weights.size() != sizes.size())
    throw Error(fmt::format("{} weights for {} sources", weights.size(), sizes.size()));
  const int64_t all = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  double sum = 0;
  for (const double weight : weights) {
    if (!(weight >= 0)) throw Error(fmt::format("a weight is {}, expected 0 or more", weight));
    sum += weight;
  }
  if (!weights.empty() && sum == 0) throw Error("all weights are 0");
  std::vector<Pick> picks;
  for (size_t source = 0; source < sizes.size(); ++source) {
    if (sizes[source] == 0) continue;
    const double share = weights.empty()
                             ? static_cast<double>(sizes[source]) / static_cast<double>(all)
                             : weights[source] / sum;
    int64_t wanted = std::llround(share * static_cast<double>(total == 0 ? all : total));
    Random random(seed, fmt::format("mix {}", source));
    std::vector<int32_t> order(static_cast<size_t>(sizes[source]));
    std::iota(order.begin(), order.end(), 0);
    while (wanted > 0) {
      random.shuffle(order);
      const int64_t round = std::min(wanted, sizes[source]);
      for (int64_t i = 0; i < round; ++i)
        picks.push_back({static_cast<int32_t>(source), order[static_cast<size_t>(i)]});
      wanted -= round;
    }
  }
  Random random(seed, "mix order");
  random.shuffle(picks);
  return picks;
}

}  // namespace llmcf::llm
