// What is asked of a generator, and what comes back. No libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "llm/sampling.h"

namespace llmcf::llm {

struct TokenScore {
  int32_t id = 0;
  float log_probability = 0;
  std::vector<std::pair<int32_t, float>> alternatives;
};

struct GenerationRequest {
  std::vector<int32_t> prompt;  // ids, at least one
  SamplingOptions sampling = {};
  int64_t max_tokens = 256;
  std::vector<std::string> stop = {};  // the text ends before the first of them; none is empty
  uint64_t seed = 0;
  int64_t sample = 0;  // which of several with this seed
  int64_t log_probabilities =
      -1;  // so many alternatives per token; 0 = of the token alone; -1 = none
  // More than 1: beam search (see BeamSearch), which takes as many slots; temperature 0 = the most
  // likely extensions, else they are drawn. Its text comes whole, at the end.
  int64_t beams = 1;
  int64_t returned = 1;  // of its results, at most `beams`; those behind the best in `others`
  // Gets each token's score, before the text it adds; from the thread that steps. May be empty.
  std::function<void(const TokenScore&)> on_score = {};
};

enum class Finish { kEnd, kStop, kLength, kCancelled };
const char* finish_name(Finish finish);  // as OpenAI's servers say: "stop", "stop", "length", ...

struct Generation {
  std::vector<int32_t> ids;  // the end token is not among them
  std::string text;
  Finish finish = Finish::kLength;
  std::vector<TokenScore> scores;  // by token, if asked for
  // Alternatives of the first token as texts with log probabilities, if asked for; also where that
  // token ended the text.
  std::vector<std::pair<std::string, float>> verdicts;
  int64_t prompt_tokens = 0;
  // Of a beam search that returns several, best first; the prompt was read once, for all of them.
  std::vector<Generation> others = {};
};

}  // namespace llmcf::llm
