#include "net/http_client.h"

#include <cstdlib>
#include <exception>
#include <mutex>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/format.h>

#include "core/strings.h"

namespace llmcf::net {

namespace {

using Kind = TransportError::Kind;

struct UrlCloser {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// One part of an address; nullopt if the address is invalid or has no such part.
std::optional<std::string> url_part(const std::string& url, CURLUPart part) {
  const std::unique_ptr<CURLU, UrlCloser> parsed(curl_url());
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return std::nullopt;
  char* text = nullptr;
  if (curl_url_get(parsed.get(), part, &text, 0) != CURLUE_OK) return std::nullopt;
  std::string found(text);
  curl_free(text);
  return found;
}

// What one exchange needs while libcurl calls back.
struct Exchange {
  const HttpClient::OnPiece* on_piece = nullptr;  // null: the body is collected
  const std::atomic<bool>* cancelled = nullptr;
  int64_t max_body_bytes = 0;
  int64_t received = 0;
  CURL* handle = nullptr;
  HttpResponse response;
  std::exception_ptr failure;  // thrown by the callback
  bool too_large = false;
  bool stopped = false;  // the callback has had enough
};

int64_t status_of(CURL* handle) {
  long status = 0;  // NOLINT(google-runtime-int): libcurl's type
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

// Returning less than `bytes` makes libcurl end the exchange.
size_t take_body(char* data, size_t size, size_t count, void* context) {
  Exchange& exchange = *static_cast<Exchange*>(context);
  const size_t bytes = size * count;
  exchange.received += static_cast<int64_t>(bytes);
  if (exchange.received > exchange.max_body_bytes) {
    exchange.too_large = true;
    return 0;
  }
  const int64_t status = status_of(exchange.handle);
  if (exchange.on_piece == nullptr || status < 200 || status >= 300) {
    exchange.response.body.append(data, bytes);
    return bytes;
  }
  try {
    if ((*exchange.on_piece)({data, bytes})) return bytes;
    exchange.stopped = true;
  } catch (...) {
    exchange.failure = std::current_exception();
  }
  return 0;
}

size_t take_header(char* data, size_t size, size_t count, void* context) {
  Exchange& exchange = *static_cast<Exchange*>(context);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) exchange.response.headers.clear();  // 100 Continue came before
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    exchange.response.headers.emplace_back(to_lower(trim(line.substr(0, colon))),
                                           std::string(trim(line.substr(colon + 1))));
  }
  return size * count;
}

int poll_cancelled(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const Exchange& exchange = *static_cast<const Exchange*>(context);
  return exchange.cancelled != nullptr && exchange.cancelled->load() ? 1 : 0;
}

// A list of header lines as libcurl wants it.
class HeaderList {
 public:
  HeaderList() = default;
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  void add(const std::string& name, const std::string& value) {
    const std::string line = value.empty() ? name + ";" : name + ": " + value;
    if (line.find_first_of("\r\n") != std::string::npos)
      throw Error(fmt::format("HTTP header '{}' contains a line break", name));
    curl_slist* longer = curl_slist_append(list_, line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    list_ = longer;
  }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

std::string token_from(const std::string& variable) {
  const char* token = std::getenv(variable.c_str());
  if (token == nullptr || *token == '\0') {
    throw Error(fmt::format(
        "environment variable {} (token_env) is not set; export {}=<token>, or remove token_env",
        variable, variable));
  }
  std::string text(trim(token));
  for (const char letter : text) {
    if (static_cast<unsigned char>(letter) <= ' ' || letter == '\x7f')
      throw Error(
          fmt::format("the token in environment variable {} has white space or control "
                      "characters inside",
                      variable));
  }
  return text;
}

Kind kind_of(CURLcode code, const Exchange& exchange) {
  if (exchange.too_large || code == CURLE_FILESIZE_EXCEEDED) return Kind::kTooLarge;
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Kind::kTimeout;
    case CURLE_ABORTED_BY_CALLBACK:
      return Kind::kCancelled;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
      return Kind::kConnect;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return Kind::kDropped;
    default:
      return Kind::kRefused;
  }
}

const char* meaning(Kind kind) {
  switch (kind) {
    case Kind::kConnect:
      return "no connection";
    case Kind::kTimeout:
      return "timed out";
    case Kind::kDropped:
      return "the connection ended before the answer was complete";
    case Kind::kTooLarge:
      return "the answer is larger than max_body_bytes";
    case Kind::kCancelled:
      return "cancelled";
    case Kind::kRefused:
      return "not possible";
  }
  return "";
}

void set_request(CURL* handle, const HttpRequest& request, HeaderList& headers) {
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "HEAD") curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
    headers.add("Expect", "");  // an empty value keeps libcurl from waiting for 100 Continue
  }
  for (const auto& [name, value] : request.headers)
    headers.add(name, value);
  if (!request.token_env.empty())
    headers.add("Authorization", "Bearer " + token_from(request.token_env));
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  if (is_loopback(request.url)) curl_easy_setopt(handle, CURLOPT_PROXY, "");
}

void set_options(CURL* handle, const HttpClientOptions& options, Exchange& exchange) {
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(handle, CURLOPT_USERAGENT, options.user_agent.c_str());
  if (!options.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options.ca_file.c_str());
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, poll_cancelled);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, exchange.cancelled == nullptr ? 1L : 0L);
}

}  // namespace

std::optional<std::string> HttpResponse::header(std::string_view name) const {
  for (const auto& [known, value] : headers)
    if (known == name) return value;
  return std::nullopt;
}

// Idle handles, the most recently used first: each keeps its connections open.
class HttpClient::Pool {
 public:
  ~Pool() {
    for (CURL* handle : idle_)
      curl_easy_cleanup(handle);
  }
  CURL* take() {
    {
      const std::lock_guard lock(guard_);
      if (!idle_.empty()) {
        CURL* handle = idle_.back();
        idle_.pop_back();
        return handle;
      }
    }
    CURL* handle = curl_easy_init();
    if (handle == nullptr) throw Error("libcurl gave no handle (out of memory?)");
    return handle;
  }
  void give_back(CURL* handle) {
    curl_easy_reset(handle);
    const std::lock_guard lock(guard_);
    idle_.push_back(handle);
  }

 private:
  std::mutex guard_;
  std::vector<CURL*> idle_;
};

HttpClient::HttpClient(HttpClientOptions options) : options_(std::move(options)) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) throw Error("libcurl could not be initialised");
  pool_ = std::make_unique<Pool>();
}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request) {
  return stream(request, {});
}

HttpResponse HttpClient::stream(const HttpRequest& request, const OnPiece& on_piece) {
  const auto give_back = [this](CURL* used) { pool_->give_back(used); };
  const std::unique_ptr<CURL, decltype(give_back)> handle(pool_->take(), give_back);
  Exchange exchange;
  exchange.on_piece = on_piece ? &on_piece : nullptr;
  exchange.cancelled = request.cancelled;
  exchange.max_body_bytes = options_.max_body_bytes;
  exchange.handle = handle.get();
  HeaderList headers;
  char reason[CURL_ERROR_SIZE] = "";
  set_options(handle.get(), options_, exchange);
  set_request(handle.get(), request, headers);
  curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, reason);

  const CURLcode code = curl_easy_perform(handle.get());
  if (exchange.failure) std::rethrow_exception(exchange.failure);
  if (code != CURLE_OK && !exchange.stopped) {
    const Kind kind = kind_of(code, exchange);
    throw TransportError(
        kind, fmt::format("{} {}: {} ({})", request.method, shown_url(request.url), meaning(kind),
                          *reason != '\0' ? reason : curl_easy_strerror(code)));
  }
  exchange.response.status = static_cast<int>(status_of(handle.get()));
  double seconds = 0.0;
  curl_easy_getinfo(handle.get(), CURLINFO_TOTAL_TIME, &seconds);
  exchange.response.seconds = seconds;
  return std::move(exchange.response);
}

bool is_loopback(const std::string& url) {
  const std::optional<std::string> scheme = url_part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return false;
  std::string host = to_lower(url_part(url, CURLUPART_HOST).value_or(""));
  if (host.ends_with('.')) host.pop_back();
  if (host == "localhost") return true;
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  if (!host.starts_with('[') || !host.ends_with(']')) return false;
  in6_addr six{};
  return inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &six) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&six);
}

std::string shown_url(const std::string& url) {
  const std::optional<std::string> scheme = url_part(url, CURLUPART_SCHEME);
  const std::optional<std::string> host = url_part(url, CURLUPART_HOST);
  if (!scheme || !host) return "(invalid address)";
  const std::optional<std::string> port = url_part(url, CURLUPART_PORT);
  return *scheme + "://" + *host + (port ? ":" + *port : "") +
         url_part(url, CURLUPART_PATH).value_or("/");
}

std::string join_url(std::string_view base, std::string_view path) {
  while (base.ends_with('/'))
    base.remove_suffix(1);
  while (path.starts_with('/'))
    path.remove_prefix(1);
  return std::string(base) + "/" + std::string(path);
}

}  // namespace llmcf::net
