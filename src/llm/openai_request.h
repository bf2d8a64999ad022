// Requests of OpenAI's completion, chat and embedding endpoints, checked and made ready for an
// engine. No libtorch.
//
// Invariant: what we cannot do is refused with the name of the field, never ignored: tools, other
// response formats than text, log-probability biases, frequency and presence penalties. Fields we
// do not know (user, metadata, store, ...) are left alone, as other servers do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "llm/engine.h"

namespace llmcf::llm {

struct OpenAiLimits {
  int64_t choices = 128;  // prompts * n of one request
  int64_t inputs = 2048;  // texts of one request for embeddings
  int64_t stops = 16;
};

// A completion or chat request. Choice p * n + i is the i-th of prompt p; it has the seed of
// `settings` plus i, so that the same choice comes back whatever n is.
struct OpenAiRequest {
  bool chat = false;
  std::vector<std::vector<int32_t>> prompts;
  GenerationRequest settings;  // everything but the prompt
  int64_t n = 1;
  bool stream = false;
  bool include_usage = false;  // at the end of a stream

  GenerationRequest generation(int64_t choice) const;
  int64_t choices() const { return static_cast<int64_t>(prompts.size()) * n; }
};

// These throw net::HttpError (400, or 404 for another model than `model`) naming the field.
// `random_seed` is the seed of a request that names none.
nlohmann::json read_body(const std::string& body);
OpenAiRequest read_completion(const nlohmann::json& body, const Engine& engine,
                              const std::string& model, const OpenAiLimits& limits,
                              uint64_t random_seed);
OpenAiRequest read_chat(const nlohmann::json& body, const Engine& engine, const std::string& model,
                        const OpenAiLimits& limits, uint64_t random_seed);

struct EmbeddingRequest {
  std::vector<std::string> texts;
  bool base64 = false;  // little-endian float32
};
EmbeddingRequest read_embedding(const nlohmann::json& body, const std::string& model,
                                const OpenAiLimits& limits);

}  // namespace llmcf::llm
