// HTTP client on libcurl.
//
// Invariants:
//  1. An answer with any status is an HttpResponse; no answer, or half of one, is a TransportError.
//  2. Redirects are never followed: a 3xx status comes back like any other, so a token goes to the
//     address that was configured and nowhere else.
//  3. Tokens come from environment variables only and appear in no message and no log.
//  4. Certificates are verified; requests to loopback addresses bypass proxies.
//
// Thread safety: one HttpClient serves any number of threads at once and keeps connections open
// between requests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace llmcf::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string url = {};  // http:// or https://
  Headers headers = {};
  std::string body = {};
  std::chrono::milliseconds timeout{60'000};     // of the whole exchange; 0 = none
  std::string token_env = {};                    // variable with the bearer token; empty = none
  const std::atomic<bool>* cancelled = nullptr;  // polled; true ends the exchange (kCancelled)
};

struct HttpResponse {
  int status = 0;
  Headers headers;   // names in lower case, in order of arrival
  std::string body;  // empty where a callback took it
  double seconds = 0.0;

  bool ok() const { return status >= 200 && status < 300; }
  // The first header of this lower-case name.
  std::optional<std::string> header(std::string_view name) const;
};

// No usable answer. what() names the address (without user, query and fragment) and the reason.
class TransportError : public Error {
 public:
  enum class Kind {
    kConnect,    // no such host, refused, TLS handshake broke off
    kTimeout,    // connecting or the whole exchange took too long
    kDropped,    // the connection ended before or within the answer
    kTooLarge,   // the answer exceeds HttpClientOptions::max_body_bytes
    kCancelled,  // HttpRequest::cancelled became true
    kRefused,    // we will not: bad address or protocol, certificate not valid
  };

  TransportError(Kind kind, const std::string& message) : Error(message), kind_(kind) {}
  Kind kind() const { return kind_; }
  // Whether the same request may work later: connect, timeout, dropped.
  bool retryable() const {
    return kind_ == Kind::kConnect || kind_ == Kind::kTimeout || kind_ == Kind::kDropped;
  }

 private:
  Kind kind_;
};

struct HttpClientOptions {
  std::chrono::milliseconds connect_timeout{10'000};
  int64_t max_body_bytes = int64_t{64} << 20;  // also of a streamed answer, in total
  std::string ca_file = {};                    // PEM bundle; empty = the system's
  std::string user_agent = "llmcf";
};

class HttpClient {
 public:
  // Takes one received piece of the body, cut anywhere; false ends the exchange without error.
  using OnPiece = std::function<bool(std::string_view piece)>;

  explicit HttpClient(HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Throws TransportError, or Error if `token_env` names a variable that is unset.
  HttpResponse send(const HttpRequest& request);
  // Hands the body of a 2xx answer to `on_piece` as it arrives; any other answer's body is in the
  // response. Exceptions of the callback end the exchange and are rethrown.
  HttpResponse stream(const HttpRequest& request, const OnPiece& on_piece);

 private:
  class Pool;
  HttpClientOptions options_;
  std::unique_ptr<Pool> pool_;
};

// Whether the address can only be this machine: localhost, 127.0.0.0/8, ::1. False if it is no
// valid http(s) address.
bool is_loopback(const std::string& url);

// The address as it may be shown: without user, password, query and fragment.
std::string shown_url(const std::string& url);

// `base` and `path` with exactly one slash between them.
std::string join_url(std::string_view base, std::string_view path);

}  // namespace llmcf::net
