// What a chat endpoint sends back, as one JSON object or as a stream of pieces. Internal to
// endpoint_reasoner.cc.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cot/pool.h"

namespace llmcf::cot {

// A token the model might have begun with.
struct TokenOdds {
  std::string token;
  double logprob = 0;
};

struct ChatChoice {
  std::string text;
  std::string finish_reason;           // "" = none came
  bool has_text = false;               // a null content is no text
  std::vector<TokenOdds> first_token;  // the likeliest ones, if log-probabilities were asked for
};

struct ChatUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

class ChatAnswer {
 public:
  // A whole answer. False if it is not what a chat endpoint sends; why() then says so.
  bool read(std::string_view body);
  // One event of a stream. False as read().
  bool read_event(std::string_view data);
  // After the last event. False unless the stream ended with [DONE] (`done`) or every choice has
  // its finish_reason.
  bool finish_stream(bool done);

  // Choices with text, in order of their index.
  std::vector<ChatChoice> take_choices();
  const std::optional<ChatUsage>& usage() const { return usage_; }
  const std::string& why() const { return why_; }

 private:
  bool refuse(const char* why);

  std::map<int64_t, ChatChoice> choices_;
  std::optional<ChatUsage> usage_;
  std::string why_;
};

// Log-probabilities of Yes and No among the likeliest first tokens: each is the sum over its
// spellings ("Yes", " yes", ...). One that is not listed counts as the least likely listed token.
// Nothing if neither is there.
std::optional<YesNo> read_verdict(const std::vector<TokenOdds>& first_token);

// Without the block <think>...</think> with which reasoning models begin.
std::string without_thinking(const std::string& text);

}  // namespace llmcf::cot
