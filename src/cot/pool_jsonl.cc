// The pool as JSON lines: a first line with the format, then one line per row of every table:
//   {"format":"llmcf.cot.pool/1"}
//   {"table":"jobs","id":1,"user":"A1","position":4,...}
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"
#include "cot/pool.h"
#include "cot/pool_schema.h"
#include "cot/pool_sql.h"

namespace llmcf::cot {

namespace {

using Guard = std::lock_guard<std::mutex>;
using Json = nlohmann::ordered_json;

Json column_value(const Statement& statement, int column) {
  switch (statement.type(column)) {
    case Statement::Type::kInteger:
      return statement.integer(column);
    case Statement::Type::kReal:
      return statement.real(column);
    case Statement::Type::kNull:
      return nullptr;
    case Statement::Type::kText:
      break;
  }
  return statement.text(column);
}

void bind_value(Statement& statement, const Json& value, std::string_view column) {
  if (value.is_null())
    statement.bind_null();
  else if (value.is_number_integer())
    statement.bind(value.get<int64_t>());
  else if (value.is_number())
    statement.bind(value.get<double>());
  else if (value.is_string())
    statement.bind(value.get_ref<const std::string&>());
  else
    throw Error(fmt::format("'{}' holds neither a number, a text nor null", column));
}

void export_table(const Database& database, const PoolTable& table, AtomicFile& file) {
  const auto columns = split(table.columns, ',');
  Statement statement(database, fmt::format("SELECT {} FROM {} ORDER BY {}", table.columns,
                                            table.name, table.order));
  while (statement.step()) {
    Json line;
    line["table"] = table.name;
    for (size_t index = 0; index < columns.size(); ++index)
      line[std::string(columns[index])] = column_value(statement, static_cast<int>(index));
    file.write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
}

const PoolTable& find_table(const std::string& name) {
  std::vector<std::string> known;
  for (const PoolTable& table : kPoolTables) {
    if (table.name == name) return table;
    known.emplace_back(table.name);
  }
  throw Error(unknown_name("table", name, known));
}

void import_line(const Database& database, const Json& line) {
  if (!line.is_object() || !line.contains("table") || !line["table"].is_string())
    throw Error("expected an object with a 'table'");
  const PoolTable& table = find_table(line["table"]);
  const auto columns = split(table.columns, ',');
  if (line.size() != columns.size() + 1)
    throw Error(fmt::format("expected the fields {}", table.columns));
  std::string marks = "?";
  for (size_t index = 1; index < columns.size(); ++index)
    marks += ",?";
  Statement insert(
      database, fmt::format("INSERT INTO {} ({}) VALUES ({})", table.name, table.columns, marks));
  for (const std::string_view column : columns) {
    const auto value = line.find(std::string(column));
    if (value == line.end()) throw Error(fmt::format("'{}' is missing", column));
    bind_value(insert, *value, column);
  }
  insert.run();
}

void import_lines(const Database& database, const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw Error(fmt::format("{}: cannot be read", path.string()));
  std::string text;
  int64_t number = 0;
  while (std::getline(file, text)) {
    ++number;
    try {
      const Json line = Json::parse(text);
      if (number > 1) {
        import_line(database, line);
      } else if (!line.is_object() || line.value("format", "") != kPoolFormat) {
        throw Error(fmt::format("not a pool of format {}", kPoolFormat));
      }
    } catch (const Json::exception& error) {
      throw InputError(path.string(), number, fmt::format("not valid JSON: {}", error.what()));
    } catch (const Error& error) {
      throw InputError(path.string(), number, error.what());
    }
  }
  if (number == 0) throw InputError(path.string(), 1, "the file is empty");
}

// A file that ends early may still be valid line by line.
void check_whole(const Database& database, const std::filesystem::path& path) {
  Statement statement(database,
                      "SELECT (SELECT count(*) FROM meta WHERE key = 'format'), (SELECT count(*) "
                      "FROM versions)");
  statement.step();
  const bool whole = statement.integer(0) == 1 && statement.integer(1) > 0;
  statement.reset();
  if (!whole) throw InputError(path.string(), 0, "the pool's format or versions are missing");
}

}  // namespace

void Pool::export_jsonl(const std::filesystem::path& path) const {
  const Guard guard(guard_);
  AtomicFile file(path);
  file.write(Json{{"format", kPoolFormat}}.dump() + "\n");
  database_.exec("BEGIN");  // one consistent view
  try {
    for (const PoolTable& table : kPoolTables)
      if (has_table(database_, std::string(table.name))) export_table(database_, table, file);
  } catch (...) {
    database_.exec("ROLLBACK");
    throw;
  }
  database_.exec("COMMIT");
  file.commit();
}

void Pool::import_jsonl(const std::filesystem::path& path) {
  const Guard guard(guard_);
  Transaction transaction(database_);
  Statement count(database_,
                  "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM erased) + "
                  "(SELECT count(*) FROM knowledge_jobs)");
  count.step();
  const bool empty = count.integer(0) == 0;
  count.reset();
  if (!empty) {
    throw Error(fmt::format("{}: a pool is imported into an empty one only; name a new file",
                            path_.string()));
  }
  for (auto table = kPoolTables.rbegin(); table != kPoolTables.rend(); ++table)
    database_.exec(fmt::format("DELETE FROM {}", table->name));
  import_lines(database_, path);
  check_whole(database_, path);
  transaction.commit();
}

}  // namespace llmcf::cot
