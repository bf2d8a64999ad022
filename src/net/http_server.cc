#include "net/http_server.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/log.h"
#include "net/http_connection.h"

namespace llmcf::net {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using std::chrono::milliseconds;

constexpr int64_t kRefusals = 64;          // connections over the limit that are told so at once
constexpr milliseconds kAcceptPause{100};  // after running out of descriptors

const std::string* first_of(const std::vector<std::pair<std::string, std::string>>& pairs,
                            std::string_view name) {
  for (const auto& [key, value] : pairs)
    if (key == name) return &value;
  return nullptr;
}

void check(const ServerOptions& options) {
  const auto positive = [](const char* name, int64_t value, int64_t least) {
    if (value < least)
      throw Error(fmt::format("server: {} is {}, expected at least {}", name, value, least));
  };
  positive("io_threads", options.io_threads, 1);
  positive("workers", options.workers, 1);
  positive("queue", options.queue, 0);
  positive("max_connections", options.max_connections, 1);
  positive("max_header_bytes", options.max_header_bytes, 64);
  positive("max_body_bytes", options.max_body_bytes, 0);
  positive("read_timeout", options.read_timeout.count(), 1);
  positive("idle_timeout", options.idle_timeout.count(), 1);
  positive("write_timeout", options.write_timeout.count(), 1);
  positive("request_timeout", options.request_timeout.count(), 0);
  if (options.certificate.empty() != options.key.empty())
    throw Error("server: certificate and key come together; give both, or none for plain HTTP");
}

std::unique_ptr<asio::ssl::context> tls_of(const ServerOptions& options) {
  if (options.certificate.empty()) return nullptr;
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                   asio::ssl::context::no_tlsv1_1);
  ErrorCode error;
  tls->use_certificate_chain_file(options.certificate.string(), error);
  if (error)
    throw InputError(options.certificate.string(), 0,
                     fmt::format("cannot be used as certificate (PEM): {}", error.message()));
  tls->use_private_key_file(options.key.string(), asio::ssl::context::pem, error);
  if (error)
    throw InputError(options.key.string(), 0,
                     fmt::format("cannot be used as the key (PEM) of {}: {}",
                                 options.certificate.string(), error.message()));
  return tls;
}

tcp::endpoint endpoint_of(const ServerOptions& options) {
  ErrorCode error;
  const auto address =
      asio::ip::make_address(options.address == "localhost" ? "127.0.0.1" : options.address, error);
  if (error)
    throw Error(
        fmt::format("server: address '{}' is none; expected an IP address, e.g. 127.0.0.1 "
                    "(this machine) or 0.0.0.0 (all that reach it)",
                    options.address));
  return {address, options.port};
}

}  // namespace

std::optional<std::string> ServerRequest::header(std::string_view name) const {
  const std::string* value = first_of(headers, name);
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

std::optional<std::string> ServerRequest::query_value(std::string_view name) const {
  const std::string* value = first_of(query, name);
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

bool ServerResponse::begin_stream() {
  if (streaming_) return true;
  const bool there = sink_->begin(*this);
  streaming_ = true;
  return there;
}

bool ServerResponse::write(std::string_view piece) {
  LLMCF_ASSERT(streaming_);
  return sink_->write(piece);
}

bool ServerResponse::write_event(std::string_view data) {
  if (!streaming_) {
    content_type = "text/event-stream";
    headers.emplace_back("Cache-Control", "no-cache");
    if (!begin_stream()) return false;
  }
  std::string event;
  for (size_t start = 0; start <= data.size();) {
    const size_t end = std::min(data.find('\n', start), data.size());
    event += fmt::format("data: {}\n", data.substr(start, end - start));
    start = end + 1;
  }
  return write(event + "\n");
}

std::string error_body(int status, std::string_view message, std::string_view field) {
  const char* type = status == 401   ? "authentication_error"
                     : status == 403 ? "permission_error"
                     : status == 429 ? "rate_limit_error"
                     : status < 500  ? "invalid_request_error"
                                     : "server_error";
  const nlohmann::ordered_json body = {
      {"error",
       {{"message", message},
        {"type", type},
        {"param", field.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(field)},
        {"code", nullptr}}}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

struct HttpServer::Impl {
  explicit Impl(ServerOptions wanted)
      : options(std::move(wanted)),
        tls((check(options), tls_of(options))),
        workers(options.workers, options.queue),
        context{options, router, workers, tls.get(),
                [this](Connection* connection) { forget(connection); }},
        acceptor(io),
        pause(io) {
    std::random_device random;
    context.id_salt = (static_cast<uint64_t>(random()) << 32) | random();
  }

  void listen() {
    const tcp::endpoint wanted = endpoint_of(options);
    ErrorCode error;
    acceptor.open(wanted.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(wanted, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      throw Error(
          fmt::format("server: cannot listen on {}:{}: {}; choose another port, or 0 for a "
                      "free one",
                      options.address, options.port, error.message()));
    endpoint = acceptor.local_endpoint();
  }

  void run() {
    accept();
    for (int i = 0; i < options.io_threads; ++i)
      threads.emplace_back([this] {
        for (;;) {
          try {
            io.run();
            return;
          } catch (const std::exception& error) {
            log::error("server: {}", error.what());
          }
        }
      });
  }

  void accept() {
    acceptor.async_accept(asio::make_strand(io), [this](ErrorCode error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || context.draining) return;
      if (!error) {
        admit(std::move(socket));
        return accept();
      }
      log::warn("server: a connection was not accepted: {}", error.message());
      pause.expires_after(kAcceptPause);
      pause.async_wait([this](ErrorCode ended) {
        if (!ended && !context.draining) accept();
      });
    });
  }

  void admit(tcp::socket socket) {
    std::shared_ptr<Connection> connection;
    bool refused = false;
    {
      const std::lock_guard lock(guard);
      const auto open = static_cast<int64_t>(connections.size());
      if (open >= options.max_connections + kRefusals) return;  // the socket closes itself
      refused = open >= options.max_connections;
      connection = std::make_shared<Connection>(std::move(socket), context);
      connections.emplace(connection.get(), connection);
    }
    refused ? connection->refuse() : connection->start();
  }

  void forget(Connection* connection) {
    const std::lock_guard lock(guard);
    connections.erase(connection);
    changed.notify_all();
  }

  void for_each(void (Connection::*what)()) {
    std::vector<std::shared_ptr<Connection>> open;
    {
      const std::lock_guard lock(guard);
      for (const auto& [key, weak] : connections)
        if (auto connection = weak.lock()) open.push_back(std::move(connection));
    }
    for (const auto& connection : open)
      ((*connection).*what)();
  }

  void stop(milliseconds patience) {
    const std::lock_guard once(stopping);
    if (stopped) return;
    stopped = true;
    context.draining = true;
    asio::post(io, [this] {
      ErrorCode ignored;
      acceptor.close(ignored);
      pause.cancel();
    });
    if (!threads.empty()) {
      for_each(&Connection::drain);
      std::unique_lock lock(guard);
      const auto none = [this] { return connections.empty(); };
      changed.wait_for(lock, patience, none);
      lock.unlock();
      for_each(&Connection::abort);
      lock.lock();
      changed.wait(lock, none);
    }
    workers.stop();
    keep_running.reset();
    io.stop();
    for (std::thread& thread : threads)
      thread.join();
  }

  const ServerOptions options;
  std::unique_ptr<asio::ssl::context> tls;
  Router router;
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running{io.get_executor()};
  WorkQueue workers;
  std::mutex guard;
  std::condition_variable changed;
  std::map<Connection*, std::weak_ptr<Connection>> connections;
  ServerContext context;
  tcp::acceptor acceptor;
  asio::steady_timer pause;
  tcp::endpoint endpoint;
  std::mutex stopping;
  bool stopped = false;
  std::vector<std::thread> threads;
};

HttpServer::HttpServer(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

HttpServer::~HttpServer() {
  stop(milliseconds(0));
}

void HttpServer::route(const std::string& method, const std::string& pattern, Handler handler,
                       RouteOptions options) {
  LLMCF_ASSERT(impl_->threads.empty());
  impl_->router.add({method, pattern, std::move(handler), options});
}

void HttpServer::start() {
  LLMCF_ASSERT(impl_->threads.empty());
  impl_->listen();
  impl_->run();
}

uint16_t HttpServer::port() const {
  return impl_->endpoint.port();
}

std::string HttpServer::url() const {
  const auto address = impl_->endpoint.address();
  const std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
  return fmt::format("{}://{}:{}", impl_->tls ? "https" : "http", host, port());
}

void HttpServer::stop(milliseconds patience) {
  impl_->stop(patience);
}

ServerStatistics HttpServer::statistics() const {
  ServerStatistics result;
  {
    const std::lock_guard lock(impl_->guard);
    result.connections = static_cast<int64_t>(impl_->connections.size());
  }
  result.waiting = impl_->workers.waiting();
  result.running = impl_->workers.running();
  result.requests = impl_->context.requests;
  result.overloaded = impl_->context.overloaded;
  result.late = impl_->context.late;
  return result;
}

bool HttpServer::run(std::function<void()> task) {
  const bool taken = impl_->workers.try_push(std::move(task));
  if (!taken) ++impl_->context.overloaded;
  return taken;
}

std::string HttpServer::request_id(std::string_view given) {
  return impl_->context.id_for(given);
}

}  // namespace llmcf::net
