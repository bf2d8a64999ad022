// What every request passes, whichever way it comes: its key, its line of the log, its count.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/metrics.h"

namespace llmcf::serve {

// What to tell somebody without a key.
inline constexpr const char* kNeedsKey =
    "needs a key: Authorization: Bearer KEY, or X-API-Key: KEY";

// The key in these headers; empty = none.
std::string key_in(const std::optional<std::string>& authorization,
                   const std::optional<std::string>& api_key);
// Takes as long whatever the key.
bool holds(const std::vector<std::string>& keys, std::string_view key);

// A request that has been answered.
struct Answered {
  std::string id = {}, method = {};
  std::string path = {};  // what it is counted under, too
  int status = 500;       // as HTTP has them
  double seconds = 0;
  std::string remote = {};
  size_t bytes = 0;          // of the request
  std::string problem = {};  // what the client was told; empty = nothing went wrong
};

// Counts it, and writes it into the log as a JSON object.
void account(const Answered& answered, Metrics& metrics);

}  // namespace llmcf::serve
