#include "data/schema.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace llmcf::data {

namespace {

std::string format_of_name(const std::filesystem::path& file) {
  std::filesystem::path name = file.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  const std::string suffix = name.extension().string();
  if (suffix == ".tsv" || suffix == ".tab") return "tsv";
  if (suffix == ".json" || suffix == ".jsonl" || suffix == ".ndjson") return "jsonl";
  return "csv";
}

void read_syntax(const Config& config, Table& table) {
  const std::string format =
      config.get_choice("format", format_of_name(table.path), {"csv", "tsv", "jsonl", "python"});
  table.syntax = format == "jsonl"    ? Syntax::kJsonLines
                 : format == "python" ? Syntax::kPythonLines
                                      : Syntax::kDelimited;
  table.separator = config.get<std::string>("separator", format == "tsv" ? "\t" : ",");
  if (table.separator.empty()) config.fail("separator", "must not be empty");
  table.quoted = config.get<bool>("quoted", format == "csv" && table.separator.size() == 1);
  table.header = config.get<bool>("header", true);
  table.latin1 = config.get_choice("encoding", "utf-8", {"utf-8", "latin-1"}) == "latin-1";
  table.missing = config.get<std::vector<std::string>>("missing", {});
}

// `keys` are the column keys the table takes; those in `required` must be there.
Table read_table(const Config& config, const std::set<std::string>& required,
                 const std::set<std::string>& optional) {
  Table table;
  table.path = config.require<std::string>("file");
  read_syntax(config, table);
  const std::pair<const char*, std::string*> columns[] = {{"user", &table.user},
                                                          {"item", &table.item},
                                                          {"time", &table.time},
                                                          {"rating", &table.rating},
                                                          {"title", &table.title}};
  for (const auto& [key, column] : columns) {
    if (required.contains(key))
      *column = config.require<std::string>(key);
    else if (optional.contains(key))
      *column = config.get<std::string>(key, "");
  }
  if (required.contains("time")) {
    const std::string format =
        config.get_choice("time_format", "seconds", {"seconds", "milliseconds", "iso8601"});
    table.time_format = format == "seconds"        ? TimeFormat::kSeconds
                        : format == "milliseconds" ? TimeFormat::kMilliseconds
                                                   : TimeFormat::kIso8601;
  }
  config.finish();
  return table;
}

Side side_of(const std::string& name) {
  return name == "user" ? Side::kUser : name == "item" ? Side::kItem : Side::kContext;
}

Kind kind_of(const std::string& name) {
  return name == "categorical"         ? Kind::kCategorical
         : name == "multi_categorical" ? Kind::kMultiCategorical
         : name == "numeric"           ? Kind::kNumeric
                                       : Kind::kText;
}

void check_field_name(const Config& config, const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
  });
  if (!plain) config.fail("name", fmt::format("'{}': use letters, digits, '_' and '-'", name));
  if (name == "user_id" || name == "item_id" || name.starts_with("hist_"))
    config.fail("name", fmt::format("'{}' is reserved; choose another name", name));
}

Field read_field(const Config& config) {
  Field field;
  field.name = config.require<std::string>("name");
  check_field_name(config, field.name);
  field.side = side_of(config.get_choice("side", "item", {"user", "item", "context"}));
  field.kind = kind_of(config.get_choice("kind", "categorical",
                                         {"categorical", "multi_categorical", "numeric", "text"}));
  field.source = config.get<std::string>("source", field.name);
  field.history = config.get<bool>("history", true);
  field.buckets = static_cast<int>(config.get_int("buckets", 0, 0, 100000));
  field.paths = config.get<bool>("paths", false);
  field.drop_shared = config.get<bool>("drop_shared", false);
  const std::string separator = config.get<std::string>("separator", "|");
  if (separator.size() != 1) config.fail("separator", "expected one byte");
  field.separator = separator.front();
  if (field.buckets > 0 && field.kind != Kind::kNumeric)
    config.fail("buckets", "only a numeric field has buckets");
  const bool multi = field.kind == Kind::kMultiCategorical;
  if (!multi && (field.paths || field.drop_shared))
    config.fail(field.paths ? "paths" : "drop_shared", "only for kind: multi_categorical");
  config.finish();
  return field;
}

}  // namespace

std::vector<Field> Schema::fields_from(const Config& config) {
  std::vector<Field> fields;
  std::set<std::string> names;
  for (const Config& entry : config.list("fields")) {
    fields.push_back(read_field(entry));
    if (!names.insert(fields.back().name).second)
      entry.fail("name", fmt::format("'{}' is there twice", fields.back().name));
  }
  return fields;
}

Schema Schema::from(const Config& config) {
  Schema schema;
  schema.interactions =
      read_table(config.section("interactions"), {"user", "item", "time"}, {"rating"});
  if (config.has("items")) schema.items = read_table(config.section("items"), {"item"}, {"title"});
  if (config.has("users")) schema.users = read_table(config.section("users"), {"user"}, {});
  schema.fields = fields_from(config);
  for (const Field& field : schema.fields) {
    if (field.side == Side::kItem && !schema.items.present())
      config.fail("fields",
                  fmt::format("'{}' is an item field, but there is no items: section", field.name));
    if (field.side == Side::kUser && !schema.users.present())
      config.fail("fields",
                  fmt::format("'{}' is a user field, but there is no users: section", field.name));
  }
  config.finish();
  return schema;
}

}  // namespace llmcf::data
