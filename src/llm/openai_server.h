// OpenAI's HTTP interface over an engine: completions, chat, embeddings, models; health.
//
//   POST /v1/completions        prompt: text, texts, tokens; logprobs: number
//   POST /v1/chat/completions   messages; logprobs, top_logprobs
//     both: n, stream (stream_options.include_usage), stop, seed, max_tokens, temperature, top_p,
//     and beside OpenAI's top_k, repetition_penalty. The same seed gives the same answer, whatever
//     runs beside it; choice i of n has the seed of a request for seed + i.
//   POST /v1/embeddings         input: text, texts; encoding_format: float, base64
//   GET  /v1/models, /v1/models/{name}
//   GET  /health                without a key
//
// Invariants:
//  1. What the engine calls owns what it needs: a handler may leave at any time.
//  2. The engine's worker never waits for a client: what it makes goes into a queue that max_tokens
//     bounds.
//  3. A client that has gone frees its slots at the next token.
// No libtorch.
#pragma once

#include <string>

#include "llm/openai_request.h"
#include "net/http_server.h"

namespace llmcf::llm {

struct OpenAiOptions {
  std::string model = {};    // the name it goes by; empty = the engine's
  std::string api_key = {};  // who does not send it is answered 401; empty = none
  OpenAiLimits limits = {};
};

// Adds the routes. `engine` must outlive the server.
void serve_openai(net::HttpServer& server, Engine& engine, const OpenAiOptions& options);

}  // namespace llmcf::llm
