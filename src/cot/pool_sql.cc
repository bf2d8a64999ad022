// See pool_sql.h.
#include "cot/pool_sql.h"

#include <fmt/format.h>

#include "core/hash.h"
#include "core/strings.h"

namespace llmcf::cot {

int64_t single_integer(const Database& database, const std::string& sql) {
  Statement statement(database, sql);
  if (!statement.step()) return 0;
  const int64_t value = statement.integer(0);
  statement.reset();
  return value;
}

bool has_table(const Database& database, const std::string& name) {
  Statement find(database, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?");
  find.bind(name);
  const bool found = find.step();
  find.reset();
  return found;
}

int64_t state_number(JobState state) {
  return static_cast<int64_t>(state);
}

std::string erased_hash(const std::string& user) {
  Hasher hasher;
  hasher.add_field("llmcf.erased");
  hasher.add_field(user);
  return hasher.hex();
}

std::string clean_text(std::string text) {
  for (auto bad = first_invalid_utf8(text); bad; bad = first_invalid_utf8(text))
    text[*bad] = '?';
  for (char& byte : text)
    if (byte == '\0') byte = ' ';
  return text;
}

std::string fresh(int64_t source) {
  return fmt::format("(a.source = {} AND a.version >= j.wanted_version)", source);
}

void bind_writing(Statement& statement, const NewAnswer& answer, int64_t version, int64_t source,
                  int64_t now) {
  statement.bind(version)
      .bind(source)
      .bind(clean_text(answer.text))
      .bind(clean_text(answer.finish_reason))
      .bind(answer.usage.prompt_tokens)
      .bind(answer.usage.completion_tokens)
      .bind(answer.usage.money)
      .bind(answer.usage.estimated ? 1 : 0)
      .bind(answer.latency_ms)
      .bind(now);
}

int64_t find_source(Database& database, const Source& source) {
  Statement find(database, "SELECT id FROM sources WHERE key = ?");
  find.bind(source.key());
  if (!find.step()) return 0;
  const int64_t id = find.integer(0);
  find.reset();
  return id;
}

int64_t find_or_add_source(Database& database, const Source& source,
                           const std::string& prompt_text) {
  Statement(database, "INSERT OR IGNORE INTO prompts (hash, text) VALUES (?, ?)")
      .bind(source.prompt_hash)
      .bind(clean_text(prompt_text))
      .run();
  if (const int64_t known = find_source(database, source); known != 0) return known;
  Statement insert(database,
                   "INSERT INTO sources (key, kind, model, prompt_hash, settings) "
                   "VALUES (?, ?, ?, ?, ?)");
  insert.bind(source.key())
      .bind(source.kind)
      .bind(source.model)
      .bind(source.prompt_hash)
      .bind(source.settings)
      .run();
  return database.last_insert_id();
}

}  // namespace llmcf::cot
