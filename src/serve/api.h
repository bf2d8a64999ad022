// The service over HTTP: routes, keys, logs, metrics.
//
//   listen: {address: 127.0.0.1, port: 8080, workers: 4, queue: 64, io_threads: 1,
//            max_connections: 512, max_body_bytes: 4194304, max_header_bytes: 16384,
//            request_timeout_ms: 10000, certificate: "", key: ""}
//   keys: {env: LLMCF_API_KEYS, admin_env: LLMCF_ADMIN_KEYS}   # variables with keys, by commas
//   histories: {...}      # history_store.h
//   limits: {...}         # service.h
//   canary: {...}         # releases.h; shadow: likewise
//   candidates: {bundle: FILE}, first_stage: {...}   # first_stage.h
//
// With keys, every request but /health and /ready carries one as `Authorization: Bearer KEY` or
// `X-API-Key: KEY`; /v1/reload, /v1/canary and /v1/shadow need an admin key and are there only if
// there is one.
//
// Every request is one line of the log, a JSON object with its id.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "net/http_server.h"
#include "serve/service.h"

namespace llmcf::serve {

struct ApiOptions {
  net::ServerOptions server;
  std::vector<std::string> keys, admin_keys;
  ServiceLimits limits;
  std::optional<SecondBundle> canary, shadow;
  FirstStageOptions first_stage;

  // Reads the sections above; `histories` is read by open_history_store(). Throws InputError.
  static ApiOptions from(const Config& config);
};

class Api {
 public:
  // Starts to listen. `service` must outlive this. Throws Error.
  Api(Service& service, const ApiOptions& options);
  // Answers what runs, at most ten seconds.
  ~Api();

  std::string url() const { return server_->url(); }
  uint16_t port() const { return server_->port(); }
  // Not ready any more: /ready says 503, so that a balancer sends nothing new.
  void drain() { ready_ = false; }

 private:
  using Endpoint = Json (Service::*)(const Json& body);
  using TextEndpoint = std::string (Service::*)(const Json& body, const std::string& id);

  void post(const std::string& path, Endpoint endpoint);
  void post(const std::string& path, TextEndpoint endpoint);
  void add_admin_routes();
  void add_routes();
  // Runs a handler with keys checked, timed, counted and logged.
  void guarded(const std::string& method, const std::string& path, bool admin,
               net::HttpServer::Handler handler);
  void check_key(const net::ServerRequest& request, bool admin) const;

  Service& service_;
  ApiOptions options_;
  std::atomic<bool> ready_ = true;
  std::unique_ptr<net::HttpServer> server_;
};

// The OpenAPI 3 document of these routes.
const char* openapi_json();

}  // namespace llmcf::serve
