// One connection of HttpServer: reads requests, has workers handle them, writes what they answer.
//
// States: handshake -> idle -> reading -> handling -> writing or streaming -> idle, or
// -> lingering -> closed. One timer runs in every state; its end means something different in each.
// While a handler runs, a read waits for the client's next bytes: that is how a client that goes
// away is noticed.
//
// Thread safety: everything runs on the connection's strand but Exchange, through which the worker
// that runs a handler talks to it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>  // Boost 1.74's awaitable.hpp lacks it

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "net/http_exchange.h"
#include "net/http_router.h"
#include "net/work_queue.h"

namespace llmcf::net {

class Connection;

// What all connections share; outlives them.
struct ServerContext {
  const ServerOptions& options;
  const Router& router;
  WorkQueue& workers;
  boost::asio::ssl::context* tls = nullptr;  // null: plain
  std::function<void(Connection*)> on_closed = {};
  std::atomic<bool> draining = false;
  std::atomic<int64_t> requests = 0, overloaded = 0, late = 0;
  std::atomic<uint64_t> next_id = 0;
  uint64_t id_salt = 0;

  // The id of a request whose client called it `given` (empty = nothing).
  std::string id_for(std::string_view given);
};

// A socket, plain or under TLS, as Beast wants streams.
class AnyStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using executor_type = Socket::executor_type;

  AnyStream(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls != nullptr) tls_.emplace(socket_, *tls);
  }
  executor_type get_executor() { return socket_.get_executor(); }
  Socket& socket() { return socket_; }
  auto& tls() { return tls_; }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_read_some(buffers, std::forward<Handler>(handler));
    } else {
      socket_.async_read_some(buffers, std::forward<Handler>(handler));
    }
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_write_some(buffers, std::forward<Handler>(handler));
    } else {
      socket_.async_write_some(buffers, std::forward<Handler>(handler));
    }
  }

 private:
  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(AnyStream::Socket socket, ServerContext& context);

  // From any thread.
  void start();
  void refuse();  // instead of start(): there are too many
  void drain();   // closes it if it is idle
  void abort();   // closes it whatever it does

 private:
  using Clock = std::chrono::steady_clock;
  using ErrorCode = boost::system::error_code;
  using Done = void (Connection::*)();
  enum class State {
    kHandshake,
    kIdle,
    kReading,
    kHandling,
    kWriting,
    kStreaming,
    kLingering,
    kClosed
  };

  void post(Done what);
  void arm(Clock::time_point when);
  void arm(std::chrono::milliseconds patience) { arm(Clock::now() + patience); }
  void on_timer();

  void handshake();
  void wait_for_request();
  void watch();
  void on_watched(ErrorCode error, size_t bytes);
  void read_header();
  void on_header(ErrorCode error);
  void read_body();
  void on_body(ErrorCode error);
  void on_read_error(ErrorCode error);
  std::string request_id() const;

  void dispatch();
  std::shared_ptr<Exchange> make_exchange();
  void on_handled(const std::shared_ptr<Exchange>& exchange);

  // An answer by the server itself; `last` closes the connection behind it.
  void answer(int status, const std::string& message, bool last, Headers headers = {});
  void answer(const ServerResponse& response, bool last);
  void send(std::string bytes, Done then);
  void write_some();
  void flush_stream();
  void on_answered();
  void report(bool complete);

  void linger();
  void discard();
  void close();

  ServerContext& context_;
  AnyStream stream_;
  boost::asio::steady_timer timer_;
  uint64_t timer_round_ = 0;
  boost::beast::flat_buffer buffer_;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  std::optional<Parser> parser_;
  std::shared_ptr<Exchange> exchange_;
  std::string remote_;
  ServedRequest served_;
  Clock::time_point arrived_, read_until_;
  State state_ = State::kHandshake;
  bool fresh_ = true;      // no request yet
  bool reading_ = false;   // the parser's read runs
  bool watching_ = false;  // a read waits for the client's next bytes
  bool eof_ = false;       // the client sends no more
  bool keep_alive_ = false;
  bool handled_ = false;     // the handler has returned
  bool last_chunk_ = false;  // of a stream; sent
  bool sending_ = false;
  std::string outgoing_;
  size_t sent_ = 0;
  Done then_ = nullptr;
  int64_t discarded_ = 0;
};

}  // namespace llmcf::net
