// What a request says of its user, by names, and what a bundle makes of it. Two bundles of one
// service may know other users and items and end at other moments of the log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serve/deployment.h"
#include "serve/history_store.h"

namespace llmcf::serve {

struct Past {
  std::optional<std::string> user;
  std::optional<std::vector<std::string>> given;  // items, instead of what is stored
  std::vector<StoredEvent> events;                // of the user, later than events_after()
};

// Rows of a catalogue, oldest first.
struct KnownHistory {
  int32_t user = 0;  // of the bundle; 0 = unknown
  bool known_user = false;
  std::vector<int32_t> rows;
  int64_t unknown = 0;  // items that the catalogue does not know
};

// The moment up to which the bundle's log holds a user's events; 0 for a user it does not know.
int64_t events_after(const Bundle& bundle, const std::string& user);

// The items given, or the log's and the events since.
KnownHistory history_of(const Bundle& bundle, const Catalogue& catalogue, const Past& past);

}  // namespace llmcf::serve
