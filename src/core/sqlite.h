// SQLite with ownership and exceptions: a connection, a prepared statement, a transaction.
//
// Every failure is an Error that names the file and what SQLite says. Not thread-safe: callers
// lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace llmcf {

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  Database(const std::filesystem::path& path, Mode mode);

  // Runs statements that return nothing, separated by semicolons.
  void exec(const std::string& sql);
  int64_t last_insert_id() const;
  // Rows changed by the last statement.
  int64_t changes() const;
  sqlite3* handle() const { return handle_.get(); }
  [[noreturn]] void fail(std::string_view doing) const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::string path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

// A prepared statement. Parameters are bound in order by bind(), from the first `?` on; step()
// gives the rows. After the last row (or reset()) it can be bound and run again.
class Statement {
 public:
  Statement(const Database& database, std::string_view sql);

  Statement& bind(int64_t value);
  Statement& bind(int32_t value) { return bind(static_cast<int64_t>(value)); }
  Statement& bind(double value);
  Statement& bind(std::string_view value);
  Statement& bind(const std::string& value) { return bind(std::string_view(value)); }
  Statement& bind(const char* value) { return bind(std::string_view(value)); }
  Statement& bind_null();
  template <typename T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind_null();
  }

  // True while there is a row; false resets the statement.
  bool step();
  // For statements without rows.
  void run();
  void reset();

  enum class Type { kInteger, kReal, kText, kNull };
  Type type(int column) const;
  bool is_null(int column) const;
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  const Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int next_parameter_ = 1;
};

// BEGIN IMMEDIATE now, ROLLBACK at the end of its life unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace llmcf
