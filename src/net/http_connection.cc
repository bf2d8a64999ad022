#include "net/http_connection.h"

#include <algorithm>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/log.h"
#include "core/strings.h"

namespace llmcf::net {

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using std::chrono::milliseconds;

constexpr size_t kWatched = 4096;        // bytes a client may send ahead
constexpr int64_t kSlowest = 16 << 10;   // bytes a second that a client must read
constexpr int64_t kDiscarded = 1 << 20;  // of a request that we have answered early
constexpr milliseconds kLinger{1000};

bool is_plain_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char letter) {
    return letter > ' ' && letter < '\x7f' && letter != '"';
  });
}

}  // namespace

std::string ServerContext::id_for(std::string_view given) {
  if (is_plain_id(given)) return std::string(given);
  return fmt::format("{:016x}", (next_id++ * 0x9E3779B97F4A7C15U) ^ id_salt);
}

// ---- Connection: life and time ----

Connection::Connection(AnyStream::Socket socket, ServerContext& context)
    : context_(context), stream_(std::move(socket), context.tls), timer_(stream_.get_executor()) {
  ErrorCode ignored;
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  const auto peer = stream_.socket().remote_endpoint(ignored);
  if (!ignored) remote_ = peer.address().to_string();
}

void Connection::post(Done what) {
  asio::post(stream_.get_executor(), [self = shared_from_this(), what] { (*self.*what)(); });
}

void Connection::start() {
  post(context_.tls != nullptr ? &Connection::handshake : &Connection::wait_for_request);
}

void Connection::refuse() {
  // Under TLS there is nobody to talk to yet.
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->context_.tls != nullptr || self->state_ == State::kClosed) return self->close();
    ++self->context_.overloaded;
    self->answer(503, "too many connections; try again later", true);
  });
}

void Connection::drain() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::kIdle && self->buffer_.size() == 0) self->close();
  });
}

void Connection::abort() {
  post(&Connection::close);
}

void Connection::arm(Clock::time_point when) {
  const uint64_t round = ++timer_round_;
  timer_.expires_at(when);
  timer_.async_wait([self = shared_from_this(), round](ErrorCode error) {
    if (!error && round == self->timer_round_) self->on_timer();
  });
}

void Connection::on_timer() {
  switch (state_) {
    case State::kReading:
      if (!sending_ && parser_ && parser_->got_some())
        return answer(408, "the request did not arrive in time", true);
      break;
    case State::kHandling:
      ++context_.late;
      exchange_->end();
      return answer(504, "the request's deadline has passed", true);
    default:
      break;
  }
  close();
}

void Connection::handshake() {
  if (state_ == State::kClosed) return;
  arm(context_.options.read_timeout);
  stream_.tls()->async_handshake(asio::ssl::stream_base::server,
                                 [self = shared_from_this()](ErrorCode error) {
                                   if (self->state_ == State::kClosed) return;
                                   if (error) return self->close();
                                   self->wait_for_request();
                                 });
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  if (exchange_ != nullptr) {
    if (state_ == State::kStreaming || state_ == State::kWriting) report(false);
    exchange_->end();
    exchange_.reset();
  }
  state_ = State::kClosed;
  timer_.cancel();
  ErrorCode ignored;
  stream_.socket().shutdown(AnyStream::Socket::shutdown_both, ignored);
  stream_.socket().close(ignored);
  context_.on_closed(this);
}

// ---- Connection: reading ----

void Connection::wait_for_request() {
  if (state_ == State::kClosed) return;
  exchange_.reset();
  parser_.reset();
  handled_ = last_chunk_ = false;
  state_ = State::kIdle;
  if (context_.draining) return close();
  if (buffer_.size() > 0) return read_header();
  arm(fresh_ ? context_.options.read_timeout : context_.options.idle_timeout);
  watch();
}

void Connection::watch() {
  if (watching_ || eof_ || buffer_.size() > 0) return;
  watching_ = true;
  stream_.async_read_some(buffer_.prepare(kWatched),
                          [self = shared_from_this()](ErrorCode error, size_t bytes) {
                            self->on_watched(error, bytes);
                          });
}

void Connection::on_watched(ErrorCode error, size_t bytes) {
  watching_ = false;
  if (state_ == State::kClosed) return;
  buffer_.commit(bytes);
  if (state_ == State::kLingering) return error ? close() : discard();
  if (!error) {
    if (state_ == State::kIdle) read_header();
    return;
  }
  eof_ = true;
  // The end of what the client sends may be a half-closed connection: it still gets a whole answer.
  const bool half = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  if (state_ == State::kIdle || !half) return close();
  if (exchange_ != nullptr) exchange_->cancel();
}

void Connection::read_header() {
  state_ = State::kReading;
  fresh_ = false;
  served_ = {};
  arrived_ = Clock::now();
  read_until_ = arrived_ + context_.options.read_timeout;
  arm(read_until_);
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(context_.options.max_header_bytes));
  parser_->body_limit(static_cast<uint64_t>(context_.options.max_body_bytes));
  reading_ = true;
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->on_header(error); });
}

void Connection::on_header(ErrorCode error) {
  reading_ = false;
  if (state_ != State::kReading) return;
  if (error) return on_read_error(error);
  const auto& head = parser_->get();
  served_.method = std::string(head.method_string());
  if (head.version() == 11 && head.count(http::field::host) != 1)
    return answer(400, "expected one Host header", true);
  const bool asks = to_lower(std::string_view(head[http::field::expect].data(),
                                              head[http::field::expect].size())) == "100-continue";
  if (asks && head.version() == 11 && !parser_->is_done())
    return send("HTTP/1.1 100 Continue\r\n\r\n", &Connection::read_body);
  read_body();
}

void Connection::read_body() {
  arm(read_until_);
  reading_ = true;
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](ErrorCode error, size_t) { self->on_body(error); });
}

void Connection::on_body(ErrorCode error) {
  reading_ = false;
  if (state_ != State::kReading) return;
  if (error) return on_read_error(error);
  arrived_ = Clock::now();
  dispatch();
}

void Connection::on_read_error(ErrorCode error) {
  if (error == http::error::end_of_stream || error == http::error::partial_message) return close();
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return answer(431,
                  fmt::format("the request's header has more than {} bytes",
                              context_.options.max_header_bytes),
                  true);
  if (error == http::error::body_limit)
    return answer(
        413,
        fmt::format("the request's body has more than {} bytes", context_.options.max_body_bytes),
        true);
  if (error.category() == make_error_code(http::error::bad_method).category())
    return answer(400, "not a valid HTTP/1.1 request: " + error.message(), true);
  close();
}

// ---- Connection: handling ----

std::string Connection::request_id() const {
  if (!parser_ || !parser_->is_header_done()) return context_.id_for({});
  const auto given = parser_->get()["X-Request-Id"];
  return context_.id_for({given.data(), given.size()});
}

std::shared_ptr<Exchange> Connection::make_exchange() {
  const auto& message = parser_->get();
  const bool modern = message.version() == 11;
  const auto on_more = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->post(&Connection::flush_stream);
  };
  auto exchange = std::make_shared<Exchange>(on_more, message.method() == http::verb::head, modern);
  exchange->keep_alive = keep_alive_ = modern && parser_->keep_alive() && !context_.draining;
  ServerRequest& request = exchange->request;
  request.method = served_.method;
  for (const auto& field : message)
    request.headers.emplace_back(to_lower({field.name_string().data(), field.name_string().size()}),
                                 std::string(field.value()));
  request.remote = remote_;
  request.id = request_id();
  request.body = std::move(parser_->get().body());
  return exchange;
}

void Connection::dispatch() {
  ++context_.requests;
  const auto raw_target = parser_->get().target();
  auto target = parse_target({raw_target.data(), raw_target.size()});
  exchange_ = make_exchange();
  state_ = State::kHandling;
  if (!target) return answer(400, "the request's target is no path, or is badly encoded", false);
  auto match = context_.router.find(served_.method, *target);
  if (match.route == nullptr) {
    if (match.allowed.empty())
      return answer(404, fmt::format("no such path: {}", target->path), false);
    return answer(405, fmt::format("{} is not for {}", served_.method, target->path), false,
                  {{"Allow", fmt::format("{}", fmt::join(match.allowed, ", "))}});
  }
  served_.pattern = match.route->pattern;
  ServerRequest& request = exchange_->request;
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.segment = std::move(match.segment);
  const milliseconds timeout =
      match.route->options.timeout.value_or(context_.options.request_timeout);
  request.deadline = timeout.count() > 0 ? arrived_ + timeout : Clock::time_point::max();
  exchange_->route = match.route;
  const bool taken = context_.workers.try_push([self = shared_from_this(), exchange = exchange_] {
    exchange->run_handler();
    asio::post(self->stream_.get_executor(), [self, exchange] { self->on_handled(exchange); });
  });
  if (!taken) {
    ++context_.overloaded;
    return answer(503, "the server is busy; try again later", false);
  }
  arm(request.deadline);
  watch();
}

void Connection::on_handled(const std::shared_ptr<Exchange>& exchange) {
  if (exchange != exchange_) return;
  handled_ = true;
  if (state_ == State::kStreaming) return flush_stream();
  if (state_ != State::kHandling) return;              // answered for already
  if (exchange->response.streaming()) return close();  // the client left before it began
  try {
    answer(exchange->response, false);
  } catch (const Error& error) {
    log::error("{} {}: {}", exchange->request.method, exchange->request.path, error.what());
    answer(500, error.what(), false);
  }
}

// ---- Connection: writing ----

void Connection::answer(int status, const std::string& message, bool last, Headers headers) {
  ServerResponse response;
  response.status = status;
  response.headers = std::move(headers);
  if (status == 503)
    response.headers.emplace_back("Retry-After",
                                  std::to_string(context_.options.retry_after.count()));
  response.body = error_body(status, message);
  answer(response, last);
}

void Connection::answer(const ServerResponse& response, bool last) {
  if (last || context_.draining || exchange_ == nullptr) keep_alive_ = false;
  const std::string id = exchange_ != nullptr ? exchange_->request.id : request_id();
  std::string bytes = head_of(response, id, keep_alive_, Framing::kLength);
  const bool bodiless = response.status == 204 || response.status == 304 ||
                        (exchange_ != nullptr && exchange_->head_only);
  if (!bodiless) bytes += response.body;
  served_.status = response.status;
  state_ = State::kWriting;
  send(std::move(bytes), &Connection::on_answered);
}

void Connection::send(std::string bytes, Done then) {
  outgoing_ = std::move(bytes);
  sent_ = 0;
  then_ = then;
  sending_ = true;
  const auto limit = Clock::now() + context_.options.write_timeout +
                     std::chrono::seconds(static_cast<int64_t>(outgoing_.size()) / kSlowest);
  const bool streams = state_ == State::kStreaming;
  arm(streams ? std::min(limit, exchange_->request.deadline) : limit);
  write_some();
}

void Connection::write_some() {
  stream_.async_write_some(asio::buffer(outgoing_.data() + sent_, outgoing_.size() - sent_),
                           [self = shared_from_this()](ErrorCode error, size_t bytes) {
                             if (self->state_ == State::kClosed) return;
                             if (error) return self->close();
                             self->sent_ += bytes;
                             if (self->sent_ < self->outgoing_.size()) return self->write_some();
                             self->sending_ = false;
                             (*self.*(self->then_))();
                           });
}

// Sends what the handler has written, and ends the stream when the handler has returned.
void Connection::flush_stream() {
  if (exchange_ == nullptr || sending_) return;
  if (state_ != State::kHandling && state_ != State::kStreaming) return;
  std::string bytes = exchange_->take();
  if (bytes.empty()) {
    if (state_ == State::kHandling) return;
    if (!handled_) return arm(exchange_->request.deadline);
    if (exchange_->broken || eof_) return close();
    if (last_chunk_ || exchange_->head_only || !exchange_->chunked) return on_answered();
    last_chunk_ = true;
    bytes = "0\r\n\r\n";
  }
  if (state_ == State::kHandling) served_.status = exchange_->streamed_status;
  state_ = State::kStreaming;
  send(std::move(bytes), &Connection::flush_stream);
}

void Connection::on_answered() {
  report(true);
  if (!keep_alive_ || eof_ || context_.draining) return linger();
  wait_for_request();
}

void Connection::report(bool complete) {
  if (!context_.options.on_served) return;
  served_.complete = complete;
  served_.seconds = std::chrono::duration<double>(Clock::now() - arrived_).count();
  try {
    context_.options.on_served(served_);
  } catch (const std::exception& error) {
    log::error("on_served: {}", error.what());
  }
}

// ---- Connection: ending ----

// Lets the client read what was sent: closing at once while it still sends would take that away.
void Connection::linger() {
  if (reading_) return close();
  state_ = State::kLingering;
  arm(kLinger);
  if (stream_.tls()) {
    stream_.tls()->async_shutdown([self = shared_from_this()](ErrorCode) { self->close(); });
    return;
  }
  ErrorCode ignored;
  stream_.socket().shutdown(AnyStream::Socket::shutdown_send, ignored);
  if (eof_) return close();
  if (!watching_) discard();
}

void Connection::discard() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kWatched),
                          [self = shared_from_this()](ErrorCode error, size_t bytes) {
                            if (self->state_ == State::kClosed) return;
                            self->discarded_ += static_cast<int64_t>(bytes);
                            if (error || self->discarded_ > kDiscarded) return self->close();
                            self->discard();
                          });
}

}  // namespace llmcf::net
