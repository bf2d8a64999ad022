// What the pool's own files share: small statements and rules of the database. Internal to them.
#pragma once

#include <cstdint>
#include <string>

#include "core/sqlite.h"
#include "cot/pool.h"

namespace llmcf::cot {

// The first column of the first row; 0 if there is none.
int64_t single_integer(const Database& database, const std::string& sql);
bool has_table(const Database& database, const std::string& name);

int64_t state_number(JobState state);
// Under which a user is known to be erased.
std::string erased_hash(const std::string& user);
// Valid UTF-8 without NUL, so that JSON lines can hold it; a model may answer anything.
std::string clean_text(std::string text);
// "answer a is fresh for job j": of source `source` and not older than the job wants.
std::string fresh(int64_t source);

// Who wrote the answers of source s: "template", "endpoint:<model>".
inline constexpr const char* kReasoner =
    "CASE WHEN s.kind = s.model THEN s.kind ELSE s.kind || ':' || s.model END";

// Columns and values of an answer that say who wrote it when, and what it cost.
inline constexpr const char* kWritingColumns =
    "version, source, text, finish_reason, prompt_tokens, completion_tokens, money, estimated, "
    "latency_ms, created_at";
void bind_writing(Statement& statement, const NewAnswer& answer, int64_t version, int64_t source,
                  int64_t now);

int64_t find_source(Database& database, const Source& source);  // 0 = unknown
// Also keeps the prompt's text.
int64_t find_or_add_source(Database& database, const Source& source,
                           const std::string& prompt_text);

// Commits of its life are safe against a kill but not against a power cut: for what is only about
// work under way. The next durable commit makes them durable too.
class Relaxed {
 public:
  explicit Relaxed(Database& database) : database_(database) {
    database_.exec("PRAGMA synchronous = NORMAL");
  }
  ~Relaxed() { database_.exec("PRAGMA synchronous = FULL"); }
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  Database& database_;
};

}  // namespace llmcf::cot
