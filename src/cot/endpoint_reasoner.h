// Any server that speaks the OpenAI-compatible POST /v1/chat/completions (vLLM, llama-server,
// SGLang, a cloud), with and without streaming.
//
// Invariants:
//  1. The bearer token comes from the environment variable named in the options, never from a file,
//     and appears in no message and no log.
//  2. An answer is taken only when it is whole: valid JSON, or a stream in which every choice has
//     its finish_reason or that ended with [DONE].
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cot/reasoner.h"
#include "net/http_client.h"

namespace llmcf::cot {

class ChatAnswer;
struct ChatChoice;

// Per million tokens, in whatever currency the budget is meant.
struct Price {
  std::string model;
  double prompt = 0;
  double completion = 0;
};

// Section `reason.endpoint`.
struct EndpointOptions {
  std::string url;          // base, e.g. http://127.0.0.1:8000/v1
  std::string model;        // as the server calls it
  std::string api_key_env;  // name of the variable that holds the token; empty = none
  bool stream = false;
  bool send_n = true;  // false: one candidate per request, for servers that refuse `n`
  std::chrono::milliseconds timeout{120'000};  // of one request
  // What changes answers.
  double temperature = 0.6;
  double top_p = 1.0;
  int64_t top_k = 0;  // 0 = not sent (not every server knows it)
  int64_t max_tokens = 256;
  std::string max_tokens_name = "max_tokens";  // some servers want max_completion_tokens
  bool send_seed = true;
  // Whether the server tells log-probabilities, so that it can teach; how many tokens of each
  // answer it lists (servers have a limit of their own, often 5 or 20).
  bool logprobs = false;
  int64_t top_logprobs = 5;
  // List of {model, prompt, completion}, per million tokens. Without an entry for `model` no money
  // is counted and a money budget is an error.
  std::vector<Price> prices;

  static EndpointOptions from(const Config& section);
};

class EndpointReasoner final : public Reasoner {
 public:
  explicit EndpointReasoner(EndpointOptions options);
  ~EndpointReasoner() override;

  std::string kind() const override { return "endpoint"; }
  std::string model() const override { return options_.model; }
  std::string settings() const override;
  std::string judging_settings() const override;
  bool judges() const override { return options_.logprobs; }
  std::string address() const override;
  bool is_local() const override;
  Usage bound(const ReasonRequest& request) const override;
  Usage expected(const ReasonRequest& request) const override;
  bool has_price() const override { return price_.has_value(); }
  int64_t requests_for(int64_t candidates) const override;
  ReasonOutcome attempt(const ReasonRequest& request,
                        const std::atomic<bool>* cancelled) const override;

 private:
  Usage priced(Usage usage) const;
  int64_t max_tokens(const ReasonRequest& request) const;
  void fail_charged(const std::string& reason, const ReasonRequest& request,
                    ReasonOutcome& outcome) const;
  void read_refusal(const net::HttpResponse& response, ReasonOutcome& outcome) const;
  void read_answer(ChatAnswer& answer, const ReasonRequest& request, int64_t n,
                   ReasonOutcome& outcome) const;
  bool has_odds(const ChatChoice& choice, const ReasonRequest& request,
                ReasonOutcome& outcome) const;

  // Whether the server tells log-probabilities.
  mutable std::atomic<bool> has_told_odds_ = false;
  mutable std::atomic<int64_t> answers_without_odds_ = 0;
  EndpointOptions options_;
  std::optional<Price> price_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace llmcf::cot
