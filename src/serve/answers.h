// What rank and recommend answer, whichever way it travels; as JSON here, as a message in
// rpc_server.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmcf::serve {

struct Ranked {
  struct Item {
    std::string name;
    double score = 0;  // probability; of a sequence bundle an inner product, not finite = none
  };

  std::string bundle;   // version of the one that answered
  std::string release;  // under what role: primary, canary
  bool known_user = false;
  size_t history = 0;                   // items of it that were known
  std::optional<std::string> fallback;  // why the answer lacks a part
  int64_t unknown_history = 0;          // items of the history that nobody knows
  std::string first_stage = {};         // where the ranked items come from; empty = were given
  bool products = false;                // scores are inner products
  std::vector<std::string> unknown_candidates;
  std::vector<Item> items;  // best first
};

// The answer to one request, or to each of a batch, in its order.
struct RankedAnswers {
  bool batch = false;
  std::vector<Ranked> each;  // one, unless it is a batch
};

// {"bundle": ..., "items": [...]}, or {"responses": [...]}; scores have seven digits.
std::string json_text(const RankedAnswers& answers);

}  // namespace llmcf::serve
