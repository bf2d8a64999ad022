#include "net/http_exchange.h"

#include <ctime>

#include <boost/beast/http/status.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/log.h"

namespace llmcf::net {

namespace {

namespace http = boost::beast::http;

constexpr size_t kStreamAhead = size_t{64} << 10;  // unsent bytes of a stream

bool breaks_lines(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

std::string head_of(const ServerResponse& response, const std::string& id, bool keep_alive,
                    Framing framing) {
  const auto reason =
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {:%a, %d %b %Y %H:%M:%S GMT}\r\n", response.status,
                  std::string_view(reason.data(), reason.size()), fmt::gmtime(std::time(nullptr)));
  const auto add = [&head](std::string_view name, std::string_view value) {
    if (breaks_lines(name) || breaks_lines(value))
      throw Error(fmt::format("response header '{}' contains a line break", name));
    head += fmt::format("{}: {}\r\n", name, value);
  };
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers)
    add(name, value);
  add("X-Request-Id", id);
  if (!keep_alive) add("Connection", "close");
  if (framing == Framing::kChunked) add("Transfer-Encoding", "chunked");
  if (framing == Framing::kLength && response.status != 204 && response.status != 304)
    add("Content-Length", std::to_string(response.body.size()));
  return head + "\r\n";
}

bool Exchange::begin(const ServerResponse& answer) {
  streamed_status = answer.status;
  const Framing framing = chunked ? Framing::kChunked : Framing::kUntilClose;
  return push(head_of(answer, request.id, keep_alive, framing)) && !head_only;
}

bool Exchange::write(std::string_view piece) {
  if (head_only) return false;
  if (piece.empty()) return !cancelled_;
  return chunked ? push(fmt::format("{:x}\r\n{}\r\n", piece.size(), piece)) : push(piece);
}

bool Exchange::push(std::string_view bytes) {
  {
    std::unique_lock lock(guard_);
    changed_.wait(lock, [&] { return cancelled_ || outbox_.size() < kStreamAhead; });
    if (cancelled_) return false;
    outbox_ += bytes;
  }
  on_more_();
  return true;
}

void Exchange::run_handler() {
  if (ended_) return;
  try {
    route->handler(request, response);
  } catch (const HttpError& error) {
    fail(error.status(), error.what(), error.field(), error.headers());
  } catch (const Error& error) {
    log::warn("{} {} ({}): {}", request.method, request.path, request.id, error.what());
    fail(500, error.what());
  } catch (const std::exception& error) {
    log::error("{} {} ({}): {}", request.method, request.path, request.id, error.what());
    fail(500, "an error within the server; its log tells more");
  } catch (...) {
    log::error("{} {} ({}): an unknown exception", request.method, request.path, request.id);
    fail(500, "an error within the server; its log tells more");
  }
}

void Exchange::fail(int status, std::string_view message, std::string_view field, Headers headers) {
  broken = response.streaming();
  if (broken) return;
  response = ServerResponse(this);
  response.status = status;
  response.headers = std::move(headers);
  response.body = error_body(status, message, field);
}

void Exchange::cancel() {
  {
    const std::lock_guard lock(guard_);
    cancelled_ = true;
  }
  changed_.notify_all();
}

void Exchange::end() {
  ended_ = true;
  cancel();
}

std::string Exchange::take() {
  std::string taken;
  {
    const std::lock_guard lock(guard_);
    taken.swap(outbox_);
  }
  changed_.notify_all();
  return taken;
}

}  // namespace llmcf::net
