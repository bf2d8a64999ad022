// Which store a configuration asks for.
#include "serve/history_store.h"

#include <cstdlib>

#include <fmt/format.h>

namespace llmcf::serve {

namespace {

// The value of the variable that `key` names; empty if the key is absent.
std::string from_environment(const Config& section, const std::string& key) {
  const auto variable = section.get<std::string>(key, "");
  if (variable.empty()) return {};
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0')
    section.fail(key, fmt::format("names the variable {}, which is not set", variable));
  return value;
}

}  // namespace

std::unique_ptr<HistoryStore> open_history_store(const Config& section) {
  const std::string kind = section.get_choice("kind", "sqlite", {"sqlite", "redis", "postgres"});
  if (kind == "redis") {
    RedisOptions options;
    options.host = section.get<std::string>("host", options.host);
    options.port = static_cast<int>(section.get_int("port", options.port, 1, 65535));
    options.socket = section.get<std::string>("socket", "");
    options.prefix = section.get<std::string>("prefix", options.prefix);
    options.password = from_environment(section, "password_env");
    section.finish();
    return open_redis_store(options);
  }
  if (kind == "postgres") {
    std::string connection = from_environment(section, "connection_env");
    if (connection.empty()) connection = section.get<std::string>("connection", "");
    section.finish();
    return open_postgres_store(connection);
  }
  const std::filesystem::path file = section.get<std::string>("file", "histories.sqlite");
  section.finish();
  return open_sqlite_store(section.directory() / file);
}

}  // namespace llmcf::serve
