// Encoder behind an OpenAI-compatible server: POST {base_url}/v1/embeddings.
//
// Invariants:
//  1. Answers are matched to texts by their index; a missing, doubled or wrong-sized vector or a
//     number that is not finite is an Error, never a shifted result.
//  2. White space alone is not sent: it is the zero vector.
//  3. The bearer token comes from the environment variable `token_env`, is stored nowhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/config.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "text/encoder.h"

namespace llmcf::text {

struct EndpointEncoderOptions {
  // These decide the vectors.
  std::string base_url;  // e.g. http://localhost:8080, with or without /v1 at the end
  std::string model;
  int64_t width = 0;             // expected; 0 = ask the server with one text
  bool send_dimensions = false;  // ask for `width` dimensions (models that can be cut)
  // These do not.
  std::string token_env;                // empty = no token
  int64_t batch = 64;                   // texts per request
  int64_t concurrency = 4;              // requests at once
  int64_t max_bytes_per_text = 32'768;  // longer texts are cut at a character
  net::Milliseconds timeout{60'000};
  net::RetryPolicy retry;

  // Keys: base_url, model, width, send_dimensions, token_env, batch, concurrency,
  // max_bytes_per_text, timeout_ms and the section `retry`. Does not call finish().
  static EndpointEncoderOptions from(const Config& config);
};

class EndpointEncoder final : public Encoder {
 public:
  // Asks the server only if width is 0. Throws Error.
  explicit EndpointEncoder(EndpointEncoderOptions options,
                           net::Clock& clock = net::Clock::system());

  int64_t dim() const override { return options_.width; }
  std::string name() const override { return "endpoint:" + options_.model; }
  std::string fingerprint() const override;
  void encode(std::span<const std::string_view> texts, std::span<float> out) const override;

  const EndpointEncoderOptions& options() const { return options_; }

 private:
  // Vectors as the server sent them, in the order of `texts`.
  std::vector<std::vector<float>> request(std::span<const std::string_view> texts,
                                          uint64_t number) const;

  EndpointEncoderOptions options_;
  std::string url_;
  net::Clock& clock_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace llmcf::text
