// Which handler serves a method and a path, and what a request's target says.
//
// Invariant: const once all routes are there; then any number of threads may ask.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http_server.h"

namespace llmcf::net {

struct Target {
  std::string raw_path;  // still encoded: an encoded slash does not part segments
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
};

// Of "/path?name=value" or "http://host/path?..."; nullopt if it is neither or badly encoded.
std::optional<Target> parse_target(std::string_view target);

struct Route {
  std::string method;
  std::string pattern;
  HttpServer::Handler handler;
  RouteOptions options;
};

class Router {
 public:
  // Throws Error for a bad or repeated pattern.
  void add(Route route);

  struct Match {
    const Route* route = nullptr;      // null: none
    std::string segment;               // what stands at {name}
    std::vector<std::string> allowed;  // where only the method is wrong: those that are right
  };
  Match find(std::string_view method, const Target& target) const;

 private:
  std::vector<Route> routes_;  // those without {name} first
};

}  // namespace llmcf::net
