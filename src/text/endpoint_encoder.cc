#include "text/endpoint_encoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/log.h"
#include "core/strings.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

// At most `bytes` bytes, cut where a character begins.
std::string_view head(std::string_view text, int64_t bytes) {
  if (static_cast<int64_t>(text.size()) <= bytes) return text;
  auto end = static_cast<size_t>(bytes);
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;
  return text.substr(0, end);
}

std::string excerpt(std::string_view body) {
  constexpr int64_t kShown = 200;
  return replace_invalid(head(trim(body), kShown));
}

// The vectors of an answer in the order of the request. Throws Error without a place.
std::vector<std::vector<float>> vectors_of(const std::string& body, size_t count) {
  const Json answer = Json::parse(body);
  const Json& data = answer.at("data");
  if (!data.is_array() || data.size() != count)
    throw Error(fmt::format("{} texts were sent, {} vectors came back", count, data.size()));
  std::vector<std::vector<float>> vectors(count);
  for (const Json& entry : data) {
    const auto index = entry.at("index").get<int64_t>();
    if (index < 0 || index >= static_cast<int64_t>(count))
      throw Error(fmt::format("a vector has index {} of {}", index, count));
    std::vector<float>& vector = vectors[static_cast<size_t>(index)];
    if (!vector.empty()) throw Error(fmt::format("two vectors have index {}", index));
    vector = entry.at("embedding").get<std::vector<float>>();
    if (vector.empty()) throw Error(fmt::format("the vector of index {} is empty", index));
    if (!std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); }))
      throw Error(fmt::format("the vector of index {} has a number that is not finite", index));
  }
  return vectors;
}

void normalise(std::span<float> vector) {
  double square = 0.0;
  for (const float value : vector)
    square += static_cast<double>(value) * static_cast<double>(value);
  const double scale = square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
  for (float& value : vector)
    value = static_cast<float>(static_cast<double>(value) * scale);
}

// Runs task(0), ..., task(count - 1) on a few threads that mostly wait; rethrows the first failure.
void run_concurrently(int64_t count, int64_t threads, const std::function<void(int64_t)>& task) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&] {
    for (int64_t at = next++; at < count && !stop; at = next++) {
      try {
        task(at);
      } catch (...) {
        const std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        stop = true;
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (int64_t other = 1; other < std::min(threads, count); ++other)
      others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

EndpointEncoderOptions EndpointEncoderOptions::from(const Config& config) {
  EndpointEncoderOptions options;
  options.base_url = config.require<std::string>("base_url");
  options.model = config.require<std::string>("model");
  options.width = config.get_int("width", options.width, 0, 65'536);
  options.send_dimensions = config.get<bool>("send_dimensions", options.send_dimensions);
  if (options.send_dimensions && options.width == 0)
    config.fail("send_dimensions", "needs 'width', the number of dimensions to ask for");
  options.token_env = config.get<std::string>("token_env", options.token_env);
  options.batch = config.get_int("batch", options.batch, 1, 10'000);
  options.concurrency = config.get_int("concurrency", options.concurrency, 1, 256);
  options.max_bytes_per_text =
      config.get_int("max_bytes_per_text", options.max_bytes_per_text, 1, 1 << 24);
  options.timeout =
      net::Milliseconds(config.get_int("timeout_ms", options.timeout.count(), 1, 3'600'000));
  options.retry = net::RetryPolicy::from(config.section("retry"));
  return options;
}

EndpointEncoder::EndpointEncoder(EndpointEncoderOptions options, net::Clock& clock)
    : options_(std::move(options)), clock_(clock), client_(std::make_unique<net::HttpClient>()) {
  std::string_view base = options_.base_url;
  while (base.ends_with('/'))
    base.remove_suffix(1);
  if (base.ends_with("/v1")) base.remove_suffix(3);
  options_.base_url = base;
  url_ = net::join_url(base, "v1/embeddings");
  if (!net::is_loopback(url_))
    log::warn("catalogue texts and chains of thought will be sent to {}", net::shown_url(url_));
  if (options_.width == 0) {
    const std::string_view probe = "width";
    options_.width = static_cast<int64_t>(request({&probe, 1}, 0).front().size());
  }
}

std::string EndpointEncoder::fingerprint() const {
  Hasher hasher;
  hasher.add_field(options_.base_url);
  hasher.add_field(options_.model);
  hasher.add_field(fmt::format("{} {} {}", options_.width, options_.send_dimensions,
                               options_.max_bytes_per_text));
  return "endpoint:" + hasher.hex();
}

std::vector<std::vector<float>> EndpointEncoder::request(std::span<const std::string_view> texts,
                                                         uint64_t number) const {
  Json body = {{"model", options_.model}, {"encoding_format", "float"}};
  for (const std::string_view text : texts)
    body["input"].push_back(replace_invalid(head(text, options_.max_bytes_per_text)));
  if (options_.send_dimensions) body["dimensions"] = options_.width;
  net::HttpRequest request;
  request.method = "POST";
  request.url = url_;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body.dump();
  request.timeout = options_.timeout;
  request.token_env = options_.token_env;
  Random random(number, "text.endpoint.backoff");
  net::Backoff backoff(options_.retry, random, clock_);
  for (;;) {
    const net::HttpResponse response = net::with_retries(
        backoff, clock_, [&] { return client_->send(request); },
        [&](const std::string& reason) { log::warn("embeddings: {}; trying again", reason); });
    if (!response.ok()) {
      throw Error(fmt::format("POST {}: HTTP status {} after {} attempts: {}", net::shown_url(url_),
                              response.status, backoff.attempts(), excerpt(response.body)));
    }
    std::string reason;
    try {
      return vectors_of(response.body, texts.size());
    } catch (const Json::exception& error) {
      reason = fmt::format("no embeddings in the answer '{}' ({})", excerpt(response.body),
                           error.what());
    } catch (const Error& error) {
      reason = error.what();
    }
    // A cut answer or one bad vector may be an accident: asked again like a failed transfer.
    if (!backoff.wait()) throw Error(fmt::format("POST {}: {}", net::shown_url(url_), reason));
    log::warn("embeddings: {}; trying again", reason);
  }
}

void EndpointEncoder::encode(std::span<const std::string_view> texts, std::span<float> out) const {
  const auto width = static_cast<size_t>(options_.width);
  LLMCF_ASSERT(out.size() == texts.size() * width);
  std::fill(out.begin(), out.end(), 0.0F);
  std::vector<size_t> wanted;
  for (size_t at = 0; at < texts.size(); ++at)
    if (!trim(texts[at]).empty()) wanted.push_back(at);
  const auto count = static_cast<int64_t>(wanted.size());
  const int64_t batches = (count + options_.batch - 1) / options_.batch;
  run_concurrently(batches, options_.concurrency, [&](int64_t batch) {
    const auto begin = static_cast<size_t>(batch * options_.batch);
    const auto end = static_cast<size_t>(std::min(count, (batch + 1) * options_.batch));
    std::vector<std::string_view> part;
    for (size_t at = begin; at < end; ++at)
      part.push_back(texts[wanted[at]]);
    const auto vectors = request(part, static_cast<uint64_t>(batch) + 1);
    for (size_t at = begin; at < end; ++at) {
      const std::vector<float>& vector = vectors[at - begin];
      if (vector.size() != width) {
        throw Error(
            fmt::format("POST {}: model '{}' gives vectors of {} numbers, expected {} (width)",
                        net::shown_url(url_), options_.model, vector.size(), width));
      }
      const std::span<float> target = out.subspan(wanted[at] * width, width);
      std::copy(vector.begin(), vector.end(), target.begin());
      normalise(target);
    }
  });
}

}  // namespace llmcf::text
