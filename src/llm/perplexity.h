// How surprised a model is by texts it has not learned. No libtorch in here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "llm/engine.h"

namespace llmcf::llm {

struct Perplexity {
  int64_t conversations = 0, tokens = 0, cut = 0;  // tokens of answers; conversations cut at length
  double loss = 0;                                 // mean negative log likelihood of a token, nats
  double value = 0;                                // exp(loss)
};

// Over the last `share` of each file's conversations: answers given their questions, all of
// documents. What is longer than `length` tokens is cut. Throws Error if nothing is left.
Perplexity perplexity(const EngineOptions& model, const std::vector<std::filesystem::path>& files,
                      double share = 1, int64_t length = 1024);

}  // namespace llmcf::llm
