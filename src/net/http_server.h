// HTTP/1.1 server on Boost.Beast: a few I/O threads read and write, a bounded pool of workers runs
// the handlers. TLS by configuration, server-sent events, graceful stop.
//
// Invariants:
//  1. Nothing grows without bound: connections, header and body sizes, waiting requests and the
//     unsent part of a stream are limited; what is over a limit is answered at once (431, 413, 503
//     with Retry-After). Memory is at most max_connections * (max_header_bytes + max_body_bytes).
//  2. Every wait ends: for a handshake, a request, a handler, a client that reads, an idle
//     connection.
//  3. No request ends the server. What a handler throws becomes an error body (error_body); a
//     handler that misses its deadline is answered for with 504 and told through `cancelled`.
//  4. Requests of one connection are served in their order, one at a time.
//
// Thread safety: handlers run on several threads at once; statistics() may be called from any
// thread, stop() from any but a handler's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "net/http_client.h"

namespace llmcf::net {

// What was served, when its last byte has been sent or its client was gone.
struct ServedRequest {
  std::string method;
  std::string pattern;  // of the route; empty = no route matched
  int status = 0;
  double seconds = 0.0;  // since the whole request had been read
  bool complete = true;  // false: the client was gone, or a stream broke off
};

struct ServerOptions {
  std::string address = "127.0.0.1";  // an IP address, or localhost
  uint16_t port = 0;                  // 0 = a free one: see HttpServer::port()
  int io_threads = 1;
  int workers = 4;     // handlers at once
  int64_t queue = 64;  // requests that wait for a worker; more are answered 503
  int64_t max_connections = 512;
  int64_t max_header_bytes = 16 << 10;                // 431 beyond
  int64_t max_body_bytes = 4 << 20;                   // 413 beyond
  std::chrono::milliseconds read_timeout{30'000};     // of a whole request, and of a handshake
  std::chrono::milliseconds idle_timeout{60'000};     // between requests
  std::chrono::milliseconds write_timeout{30'000};    // plus a second for every 16 KiB
  std::chrono::milliseconds request_timeout{60'000};  // of a handler, waiting included; 0 = none
  std::chrono::seconds retry_after{1};                // what a 503 asks for
  std::filesystem::path certificate = {};             // PEM, the chain; empty = plain HTTP
  std::filesystem::path key = {};                     // PEM
  std::function<void(const ServedRequest&)> on_served = {};  // from I/O threads; may be empty
};

struct ServerRequest {
  std::string method;
  std::string path;     // decoded, without the query
  std::string segment;  // what stands at the pattern's {name}, decoded
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  Headers headers;                                         // names in lower case, in order
  std::string body;
  std::string remote;  // the client's IP address
  std::string id;      // the client's X-Request-Id if it is plain, else a new one; sent back
  std::chrono::steady_clock::time_point deadline;
  // True when the client has gone (or closed its sending side), the deadline has passed or the
  // server is being stopped by force. A handler that takes long looks at it. Never null.
  const std::atomic<bool>* cancelled = nullptr;

  // The first of this name (of headers: in lower case).
  std::optional<std::string> header(std::string_view name) const;
  std::optional<std::string> query_value(std::string_view name) const;
};

// What a handler answers: the fields, or a stream.
class ServerResponse {
 public:
  class Sink;  // the connection's side

  int status = 200;
  std::string content_type = "application/json";
  Headers headers = {};
  std::string body = {};

  // Sends status and headers; the body is what write() sends until the handler returns. False if
  // the client is gone.
  bool begin_stream();
  // Waits while the client has much unread. False if the client is gone: the handler should return.
  bool write(std::string_view piece);
  // One server-sent event of one or more lines; begins the stream as text/event-stream.
  bool write_event(std::string_view data);
  bool streaming() const { return streaming_; }

  explicit ServerResponse(Sink* sink = nullptr) : sink_(sink) {}

 private:
  Sink* sink_;
  bool streaming_ = false;
};

class ServerResponse::Sink {
 public:
  virtual ~Sink() = default;
  virtual bool begin(const ServerResponse& response) = 0;
  virtual bool write(std::string_view piece) = 0;
};

// Thrown by handlers. Any other Error is answered with 500 and its text, any other exception with
// 500 and no text; both are logged.
class HttpError : public Error {
 public:
  explicit HttpError(int status, const std::string& message, std::string field = {},
                     Headers headers = {})
      : Error(message), status_(status), field_(std::move(field)), headers_(std::move(headers)) {}
  int status() const { return status_; }
  const std::string& field() const { return field_; }  // of the request; empty = none in particular
  const Headers& headers() const { return headers_; }

 private:
  int status_;
  std::string field_;
  Headers headers_;
};

// {"error": {"message", "type", "param", "code"}}, the shape of OpenAI's servers; `type` says whose
// fault it is.
std::string error_body(int status, std::string_view message, std::string_view field = {});

struct RouteOptions {
  std::optional<std::chrono::milliseconds> timeout = {};  // instead of request_timeout; 0 = none
};

struct ServerStatistics {
  int64_t connections = 0;  // now
  int64_t waiting = 0;      // requests now
  int64_t running = 0;      // handlers now
  int64_t requests = 0;     // since the start, as the next two
  int64_t overloaded = 0;   // answered 503 by the server itself
  int64_t late = 0;         // answered 504
};

class HttpServer {
 public:
  using Handler = std::function<void(const ServerRequest&, ServerResponse&)>;

  // Throws Error naming the option that is wrong, or the certificate or key that cannot be used.
  explicit HttpServer(ServerOptions options = {});
  // stop(0).
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // `pattern` is a path; one segment may be {name}. A route without {name} goes before one with it.
  // GET serves HEAD as well. REQUIRES: not started. Throws Error for a bad or repeated pattern.
  void route(const std::string& method, const std::string& pattern, Handler handler,
             RouteOptions options = {});

  // Listens, and serves from now on. Throws Error naming the address if it cannot be had.
  void start();
  uint16_t port() const;
  // "http://127.0.0.1:PORT" (or https), without a slash at the end.
  std::string url() const;

  // Accepts no more, closes idle connections, waits until what runs has been answered, at most
  // `patience`; then ends the rest by force and waits for handlers to return. Again: nothing.
  void stop(std::chrono::milliseconds patience);
  ServerStatistics statistics() const;

  // For requests that come another way and are to share workers, queue and ids with these.
  // Runs `task`, which must not throw, as handlers are run. False, counted as overloaded, if the
  // queue is full or the server is stopped; a task that still waits when it stops is dropped.
  bool run(std::function<void()> task);
  // `given` if it is plain (ServerRequest::id), else a new one.
  std::string request_id(std::string_view given);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::net
