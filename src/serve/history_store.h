// What users did and which items were added since a bundle was published: append-only, durable.
//
// Invariants:
//  1. When append() or put_item() has returned, what it was given survives a kill -9 and, as far as
//     the disk keeps its word, a power cut. What was not acknowledged is there whole or not at all.
//  2. Events of one user are returned in the order of (time, arrival).
//  3. Users and items are named as in the input, never by a bundle's ids: a store outlives bundles.
//
// Thread safety: all methods may be called from any thread. Appends of several threads share one
// commit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace llmcf::serve {

struct StoredEvent {
  std::string user, item;
  int64_t time = 0;  // Unix seconds
};

// An item that was added while serving, as it was asked for.
struct StoredItem {
  std::string name;
  std::string json;
};

class HistoryStore {
 public:
  virtual ~HistoryStore() = default;

  virtual void append(std::span<const StoredEvent> events) = 0;
  // The last `limit` events of the user that are later than `after`, oldest first.
  virtual std::vector<StoredEvent> events(const std::string& user, int64_t after,
                                          int64_t limit) = 0;
  virtual int64_t size() = 0;  // events
  // Removes a user's events; returns how many there were.
  virtual int64_t erase(const std::string& user) = 0;
  // Adds the item, or takes the place of one with its name.
  virtual void put_item(const StoredItem& item) = 0;
  virtual std::vector<StoredItem> items() = 0;  // in the order they were put
  virtual std::string kind() const = 0;
};

// One SQLite file in WAL mode. Throws Error if it cannot be opened or is of another format.
std::unique_ptr<HistoryStore> open_sqlite_store(const std::filesystem::path& file);

// Servers that several services share. Invariant 1 is as good as the server's promise: of Redis
// that is `appendonly yes` with `appendfsync always`, and anything less is warned of; PostgreSQL's
// `synchronous_commit` is set here. A connection that broke is made anew by the next call. Both
// throw Error naming the server if it cannot be reached.
struct RedisOptions {
  std::string host = "127.0.0.1";
  int port = 6379;
  std::string socket;             // of this machine, instead of host and port
  std::string password;           // empty = none
  std::string prefix = "llmcf:";  // of every key
};
std::unique_ptr<HistoryStore> open_redis_store(const RedisOptions& options);
// `connection` as libpq has it: "host=... dbname=..." or "postgresql://...". Tables llmcf_event and
// llmcf_item are made if they are not there.
std::unique_ptr<HistoryStore> open_postgres_store(const std::string& connection);

// histories:
//   kind: sqlite              # sqlite | redis | postgres
//   file: histories.sqlite    # sqlite: relative to the configuration file
//   host: 127.0.0.1           # redis, with port: 6379, or socket: a path; prefix: "llmcf:"
//   password_env: ""          # redis: the variable that holds the password
//   connection_env: ""        # postgres: the variable that holds the connection string
//   connection: ""            # postgres: the string itself
// Throws InputError with file and line.
std::unique_ptr<HistoryStore> open_history_store(const Config& section);

}  // namespace llmcf::serve
