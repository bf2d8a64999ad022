#include "serve/api.h"

#include <chrono>
#include <cstdlib>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"

namespace llmcf::serve {

namespace {

constexpr std::chrono::seconds kPatience{10};  // with running requests at the end

std::vector<std::string> keys_from(const Config& section, const std::string& key) {
  std::vector<std::string> keys;
  const auto variable = section.get<std::string>(key, "");
  if (variable.empty()) return keys;
  const char* value = std::getenv(variable.c_str());
  for (const std::string_view part : split(value == nullptr ? "" : value, ','))
    if (!trim(part).empty()) keys.emplace_back(trim(part));
  if (keys.empty())
    section.fail(key, fmt::format("names the variable {}, which holds no key", variable));
  return keys;
}

// Takes as long whatever the difference.
bool equal(std::string_view left, std::string_view right) {
  size_t different = left.size() ^ right.size();
  for (size_t i = 0; i < left.size(); ++i)
    different |= static_cast<size_t>(left[i] ^ (i < right.size() ? right[i] : '\0'));
  return different == 0;
}

bool holds(const std::vector<std::string>& keys, std::string_view key) {
  bool found = false;
  for (const std::string& known : keys)
    found = equal(known, key) || found;
  return found;
}

void answer(net::ServerResponse& response, const Json& body) {
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The release that a body names; without a body the primary.
Role named_role(const std::string& body) {
  if (body.empty()) return Role::kPrimary;
  const Json json = parse_object(body);
  JsonReader reader(json);
  const auto name = reader.text("release");
  reader.finish();
  for (const Role role : kRoles)
    if (!name || *name == role_name(role)) return role;
  reader.fail("release", fmt::format("is '{}'; primary, canary and shadow are known", *name));
}

}  // namespace

ApiOptions ApiOptions::from(const Config& config) {
  ApiOptions options;
  net::ServerOptions& server = options.server;
  const Config listen = config.section("listen");
  server.address = listen.get<std::string>("address", server.address);
  server.port = static_cast<uint16_t>(listen.get_int("port", 8080, 0, 65535));
  server.workers = static_cast<int>(listen.get_int("workers", server.workers, 1, 1024));
  server.io_threads = static_cast<int>(listen.get_int("io_threads", server.io_threads, 1, 64));
  server.queue = listen.get_int("queue", server.queue, 0, 1 << 20);
  server.max_connections = listen.get_int("max_connections", server.max_connections, 1, 1 << 20);
  server.max_body_bytes = listen.get_int("max_body_bytes", server.max_body_bytes, 1, 1 << 30);
  server.max_header_bytes =
      listen.get_int("max_header_bytes", server.max_header_bytes, 256, 1 << 24);
  server.request_timeout =
      std::chrono::milliseconds(listen.get_int("request_timeout_ms", 10'000, 1, 3'600'000));
  const auto file = [&](const char* key) -> std::filesystem::path {
    const auto path = listen.get<std::string>(key, "");
    return path.empty() ? std::filesystem::path() : config.directory() / path;
  };
  server.certificate = file("certificate");
  server.key = file("key");
  listen.finish();
  const Config keys = config.section("keys");
  options.keys = keys_from(keys, "env");
  options.admin_keys = keys_from(keys, "admin_env");
  keys.finish();
  options.limits = ServiceLimits::from(config.section("limits"));
  options.canary = SecondBundle::from(config, Role::kCanary);
  options.shadow = SecondBundle::from(config, Role::kShadow);
  options.first_stage = FirstStageOptions::from(config);
  config.section("histories");
  config.finish();
  return options;
}

Api::Api(Service& service, const ApiOptions& options)
    : service_(service),
      options_(options),
      server_(std::make_unique<net::HttpServer>(options.server)) {
  if (options_.keys.empty() && options_.server.address != "127.0.0.1" &&
      options_.server.address != "localhost" && options_.server.address != "::1")
    log::warn("listening on {} without keys: whoever reaches it may read and write histories",
              options_.server.address);
  add_routes();
  server_->start();
}

Api::~Api() {
  ready_ = false;
  server_->stop(kPatience);
}

void Api::check_key(const net::ServerRequest& request, bool admin) const {
  if (options_.keys.empty() && !admin) return;
  std::string key = request.header("x-api-key").value_or("");
  constexpr std::string_view kBearer = "Bearer ";
  if (const auto given = request.header("authorization"); given && given->starts_with(kBearer))
    key = given->substr(kBearer.size());
  const bool known = holds(options_.admin_keys, key) || (!admin && holds(options_.keys, key));
  if (!known)
    throw net::HttpError(401,
                         admin ? "needs an admin key: Authorization: Bearer KEY"
                               : "needs a key: Authorization: Bearer KEY, or X-API-Key: KEY",
                         {}, {{"WWW-Authenticate", "Bearer"}});
}

void Api::guarded(const std::string& method, const std::string& path, bool admin,
                  net::HttpServer::Handler handler) {
  server_->route(
      method, path,
      [this, method, path, admin, handler](const net::ServerRequest& request,
                                           net::ServerResponse& response) {
        const auto start = std::chrono::steady_clock::now();
        std::string problem;
        int status = 500;
        const auto tell = [&] {
          const double seconds =
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          service_.metrics().request(path, status, seconds);
          Json line = {{"id", request.id},
                       {"method", method},
                       {"path", path},
                       {"status", status},
                       {"ms", std::round(seconds * 1e6) / 1e3},
                       {"remote", request.remote},
                       {"bytes", request.body.size()}};
          if (!problem.empty()) line["error"] = problem;
          log::info("{}", line.dump(-1, ' ', false, Json::error_handler_t::replace));
        };
        try {
          check_key(request, admin);
          handler(request, response);
          status = response.status;
        } catch (const net::HttpError& error) {
          status = error.status();
          problem = error.what();
          tell();
          throw;
        } catch (const std::exception& error) {
          problem = error.what();
          tell();
          throw;
        }
        tell();
      });
}

void Api::post(const std::string& path, Endpoint endpoint) {
  guarded("POST", path, false,
          [this, endpoint](const net::ServerRequest& request, net::ServerResponse& response) {
            answer(response, (service_.*endpoint)(parse_object(request.body)));
          });
}

void Api::post(const std::string& path, TextEndpoint endpoint) {
  guarded("POST", path, false,
          [this, endpoint](const net::ServerRequest& request, net::ServerResponse& response) {
            response.body = (service_.*endpoint)(parse_object(request.body), request.id);
          });
}

void Api::add_admin_routes() {
  guarded("POST", "/v1/reload", true,
          [this](const net::ServerRequest& request, net::ServerResponse& response) {
            answer(response, service_.reload(named_role(request.body)));
          });
  for (const Role role : {Role::kCanary, Role::kShadow}) {
    const std::string path = fmt::format("/v1/{}", role_name(role));
    guarded("POST", path, true,
            [this, role](const net::ServerRequest& request, net::ServerResponse& response) {
              answer(response, service_.put(role, parse_object(request.body)));
            });
    guarded("DELETE", path, true,
            [this, role](const net::ServerRequest&, net::ServerResponse& response) {
              answer(response, service_.remove(role));
            });
  }
}

void Api::add_routes() {
  post("/v1/rank", &Service::rank);
  post("/v1/recommend", &Service::recommend);
  post("/v1/events", &Service::add_events);
  post("/v1/items", &Service::add_items);
  guarded("POST", "/v1/explain", false,
          [this](const net::ServerRequest& request, net::ServerResponse& response) {
            answer(response, service_.explain(parse_object(request.body), request.id));
          });
  guarded("DELETE", "/v1/users/{user}", false,
          [this](const net::ServerRequest& request, net::ServerResponse& response) {
            answer(response, service_.forget(request.segment));
          });
  guarded("GET", "/v1/info", false,
          [this](const net::ServerRequest&, net::ServerResponse& response) {
            answer(response, service_.info());
          });
  guarded("GET", "/v1/openapi.json", false,
          [](const net::ServerRequest&, net::ServerResponse& response) {
            response.body = openapi_json();
          });
  guarded("GET", "/metrics", false,
          [this](const net::ServerRequest&, net::ServerResponse& response) {
            const net::ServerStatistics now = server_->statistics();
            service_.metrics().server(now.connections, now.waiting, now.running, now.overloaded,
                                      now.late);
            service_.update_gauges();
            response.content_type = "text/plain; version=0.0.4";
            response.body = service_.metrics().text();
          });
  if (!options_.admin_keys.empty()) add_admin_routes();
  server_->route("GET", "/health", [](const net::ServerRequest&, net::ServerResponse& response) {
    response.body = R"({"status":"alive"})";
  });
  server_->route("GET", "/ready", [this](const net::ServerRequest&, net::ServerResponse& response) {
    response.status = ready_ ? 200 : 503;
    response.body = ready_ ? R"({"status":"ready"})" : R"({"status":"stopping"})";
  });
}

}  // namespace llmcf::serve
