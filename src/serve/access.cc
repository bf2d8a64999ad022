#include "serve/access.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/log.h"

namespace llmcf::serve {

namespace {

using Json = nlohmann::ordered_json;

bool equal(std::string_view left, std::string_view right) {
  size_t different = left.size() ^ right.size();
  for (size_t i = 0; i < left.size(); ++i)
    different |= static_cast<size_t>(left[i] ^ (i < right.size() ? right[i] : '\0'));
  return different == 0;
}

}  // namespace

std::string key_in(const std::optional<std::string>& authorization,
                   const std::optional<std::string>& api_key) {
  constexpr std::string_view kBearer = "Bearer ";
  if (authorization && authorization->starts_with(kBearer))
    return authorization->substr(kBearer.size());
  return api_key.value_or("");
}

bool holds(const std::vector<std::string>& keys, std::string_view key) {
  bool found = false;
  for (const std::string& known : keys)
    found = equal(known, key) || found;
  return found;
}

void account(const Answered& answered, Metrics& metrics) {
  metrics.request(answered.path, answered.status, answered.seconds);
  Json line = {{"id", answered.id},
               {"method", answered.method},
               {"path", answered.path},
               {"status", answered.status},
               {"ms", std::round(answered.seconds * 1e6) / 1e3},
               {"remote", answered.remote},
               {"bytes", answered.bytes}};
  if (!answered.problem.empty()) line["error"] = answered.problem;
  log::info("{}", line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace llmcf::serve
