#include "net/http_router.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/strings.h"

namespace llmcf::net {

namespace {

bool is_capture(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool has_capture(const std::string& pattern) {
  return pattern.find('{') != std::string::npos;
}

int hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char lower = static_cast<char>(letter | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Percent-encoded text; nullopt if an escape is broken or there is a zero byte.
std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    char letter = text[i];
    if (letter == '+' && plus_is_space) letter = ' ';
    if (letter == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
      if (low < 0) return std::nullopt;
      letter = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (letter == '\0') return std::nullopt;
    result += letter;
  }
  return result;
}

// Whether the still encoded path fits; `segment` gets what stands at {name}.
bool fits(const std::string& pattern, std::string_view path, std::string& segment) {
  const auto wanted = split(pattern, '/'), found = split(path, '/');
  if (wanted.size() != found.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::optional<std::string> plain = decode(found[i], false);
    if (!plain) return false;
    if (!is_capture(wanted[i])) {
      if (*plain != wanted[i]) return false;
    } else {
      if (plain->empty()) return false;
      segment = *plain;
    }
  }
  return true;
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/')) {
    const std::string lower = to_lower(target.substr(0, 8));
    const size_t scheme = lower.starts_with("http://") ? 7 : lower.starts_with("https://") ? 8 : 0;
    if (scheme == 0) return std::nullopt;
    const size_t slash = target.find_first_of("/?", scheme);
    if (slash == std::string_view::npos || target[slash] != '/') return std::nullopt;
    target.remove_prefix(slash);
  }
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  Target result;
  result.raw_path = target.substr(0, question);
  const std::optional<std::string> path = decode(result.raw_path, false);
  if (!path) return std::nullopt;
  result.path = *path;
  if (question == std::string_view::npos) return result;
  for (const std::string_view pair : split(target.substr(question + 1), '&')) {
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const auto name = decode(pair.substr(0, equals), true);
    const auto value =
        decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    result.query.emplace_back(*name, *value);
  }
  return result;
}

void Router::add(Route route) {
  const auto segments = split(route.pattern, '/');
  const auto captures = std::count_if(segments.begin(), segments.end(), is_capture);
  if (!route.pattern.starts_with('/') || captures > 1 ||
      std::count(route.pattern.begin(), route.pattern.end(), '{') != captures)
    throw Error(fmt::format("route '{}': expected a path with at most one {{name}} segment",
                            route.pattern));
  for (const Route& other : routes_)
    if (other.method == route.method && other.pattern == route.pattern)
      throw Error(fmt::format("route {} {} is there twice", route.method, route.pattern));
  const auto place = has_capture(route.pattern)
                         ? routes_.end()
                         : std::find_if(routes_.begin(), routes_.end(), [](const Route& other) {
                             return has_capture(other.pattern);
                           });
  routes_.insert(place, std::move(route));
}

Router::Match Router::find(std::string_view method, const Target& target) const {
  Match match;
  for (const Route& route : routes_) {
    std::string segment;
    if (!fits(route.pattern, target.raw_path, segment)) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET"))
      return {&route, std::move(segment), {}};
    match.allowed.push_back(route.method);
    if (route.method == "GET") match.allowed.emplace_back("HEAD");
  }
  return match;
}

}  // namespace llmcf::net
