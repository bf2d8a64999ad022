// Histories in PostgreSQL.
#include <mutex>

#include <fmt/format.h>
#include <libpq-fe.h>

#include "core/error.h"
#include "core/strings.h"
#include "serve/history_store.h"

namespace llmcf::serve {

namespace {

constexpr const char* kTables = R"(
CREATE TABLE IF NOT EXISTS llmcf_event (
  id BIGSERIAL PRIMARY KEY, "user" TEXT NOT NULL, item TEXT NOT NULL, time BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS llmcf_event_by_user ON llmcf_event ("user", time, id);
CREATE TABLE IF NOT EXISTS llmcf_item (
  name TEXT PRIMARY KEY, json TEXT NOT NULL, id BIGSERIAL NOT NULL);
SET synchronous_commit = on;
)";

struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

class PostgresStore final : public HistoryStore {
 public:
  explicit PostgresStore(std::string connection) : where_(std::move(connection)) { connect(); }

  // One statement: arrays become rows, so that all are there or none.
  void append(std::span<const StoredEvent> events) override {
    if (events.empty()) return;
    std::string users = "{", items = "{", times = "{";
    for (const StoredEvent& event : events) {
      const char* separator = users.size() > 1 ? "," : "";
      users += separator + quoted(event.user);
      items += separator + quoted(event.item);
      times += separator + std::to_string(event.time);
    }
    run(R"(INSERT INTO llmcf_event ("user", item, time)
           SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]))",
        {users + "}", items + "}", times + "}"});
  }

  std::vector<StoredEvent> events(const std::string& user, int64_t after, int64_t limit) override {
    const Result result = run(
        R"(SELECT item, time FROM (SELECT id, item, time FROM llmcf_event WHERE "user" = $1 AND
           time > $2::bigint ORDER BY time DESC, id DESC LIMIT $3::bigint) newest ORDER BY time, id)",
        {user, std::to_string(after), std::to_string(limit)});
    std::vector<StoredEvent> found;
    for (int row = 0; row < PQntuples(result.get()); ++row)
      found.push_back({.user = user, .item = text(result, row, 0), .time = number(result, row, 1)});
    return found;
  }

  int64_t size() override { return number(run("SELECT count(*) FROM llmcf_event", {}), 0, 0); }

  int64_t erase(const std::string& user) override {
    const Result result = run(R"(DELETE FROM llmcf_event WHERE "user" = $1)", {user});
    return parse_int(PQcmdTuples(result.get())).value_or(0);
  }

  void put_item(const StoredItem& item) override {
    run("INSERT INTO llmcf_item (name, json) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET json "
        "= $2, id = DEFAULT",
        {item.name, item.json});
  }

  std::vector<StoredItem> items() override {
    const Result result = run("SELECT name, json FROM llmcf_item ORDER BY id", {});
    std::vector<StoredItem> found;
    for (int row = 0; row < PQntuples(result.get()); ++row)
      found.push_back({.name = text(result, row, 0), .json = text(result, row, 1)});
    return found;
  }

  std::string kind() const override { return "postgres"; }

 private:
  // An element of an array literal.
  static std::string quoted(const std::string& value) {
    std::string out = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  }
  static std::string text(const Result& result, int row, int column) {
    return {PQgetvalue(result.get(), row, column),
            static_cast<size_t>(PQgetlength(result.get(), row, column))};
  }
  static int64_t number(const Result& result, int row, int column) {
    return parse_int(text(result, row, column)).value_or(0);
  }

  [[noreturn]] void fail(const char* reason) const {
    throw Error(fmt::format("postgres: {}", trim(reason)));
  }

  void connect() {
    connection_.reset(PQconnectdb(where_.c_str()));
    if (PQstatus(connection_.get()) != CONNECTION_OK) fail(PQerrorMessage(connection_.get()));
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
    const Result made(PQexec(connection_.get(), kTables));
    if (PQresultStatus(made.get()) != PGRES_COMMAND_OK) fail(PQerrorMessage(connection_.get()));
  }

  // A statement that failed because the connection was lost may have been carried out: it is not
  // repeated, and the caller hears of it. The next one gets a new connection.
  Result run(const char* sql, const std::vector<std::string>& values) {
    const std::lock_guard lock(guard_);
    if (PQstatus(connection_.get()) != CONNECTION_OK) connect();
    std::vector<const char*> pointers;
    for (const std::string& value : values)
      pointers.push_back(value.c_str());
    Result result(PQexecParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr,
                               pointers.data(), nullptr, nullptr, 0));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      fail(PQerrorMessage(connection_.get()));
    return result;
  }

  std::string where_;
  std::mutex guard_;
  std::unique_ptr<PGconn, FinishConnection> connection_;
};

}  // namespace

std::unique_ptr<HistoryStore> open_postgres_store(const std::string& connection) {
  return std::make_unique<PostgresStore>(connection);
}

}  // namespace llmcf::serve
