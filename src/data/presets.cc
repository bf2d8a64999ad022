#include "data/presets.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/strings.h"
#include "data/block_reader.h"
#include "data/parsers.h"

namespace llmcf::data {

namespace fs = std::filesystem;

std::vector<fs::path> list_files(const fs::path& directory) {
  if (!fs::is_directory(directory)) {
    throw Error(fmt::format("{}: no such directory; give the data set's directory as `path`",
                            directory.string()));
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

fs::path find_file(const fs::path& directory, const std::string& name) {
  for (const char* suffix : {"", ".gz", ".zst"}) {
    fs::path file = directory / (name + suffix);
    if (fs::is_regular_file(file)) return file;
  }
  return {};
}

std::vector<std::string> read_header(const Table& table) {
  BlockReader reader(table, 1 << 16);
  Block block;
  std::vector<std::string> names;
  if (reader.next(block)) names = first_record(table, block);
  for (std::string& name : names)
    name = std::string(trim(name));
  return names;
}

Schema tsv_schema(const ImportOptions& options) {
  Schema schema;
  Table& events = schema.interactions;
  events.separator = "\t";
  events.quoted = false;
  schema.items = events;
  events.path = options.interactions.empty() ? find_file(options.path, "interactions.tsv")
                                             : options.interactions;
  events.user = "user_id";
  events.item = "item_id";
  events.time = "unix_time";
  if (events.present()) {
    const std::vector<std::string> columns = read_header(events);
    if (std::find(columns.begin(), columns.end(), "rating") != columns.end())
      events.rating = "rating";
  }
  schema.items.path = options.items.empty() ? find_file(options.path, "items.tsv") : options.items;
  schema.items.item = "item_id";
  schema.items.title = "title";
  schema.fields = {
      {.name = "brand", .source = "brand"},
      {.name = "category",
       .kind = Kind::kMultiCategorical,
       .source = "categories",
       .paths = true,
       .drop_shared = true},
      {.name = "title", .kind = Kind::kText, .source = "title", .history = false},
  };
  return schema;
}

namespace {

// A schema file's relative paths start at `path` if that is given, else beside the schema.
Schema table_schema(const ImportOptions& options) {
  fs::path base = options.path;
  Schema schema;
  if (options.schema) {
    schema = *options.schema;
  } else {
    if (options.schema_file.empty())
      throw Error("format: table needs `schema`, the path of a schema file or its content");
    schema = Schema::from(Config::load(options.schema_file));
    if (base.empty()) base = options.schema_file.parent_path();
  }
  for (Table* table : {&schema.interactions, &schema.items, &schema.users}) {
    if (table->present()) table->path = base / table->path;
  }
  return schema;
}

void check_files(const ImportOptions& options, const Schema& schema) {
  if (!schema.interactions.present()) {
    throw Error(
        fmt::format("{}: no interactions file of format {} there; name it with "
                    "`interactions`",
                    options.path.empty() ? "." : options.path.string(), options.format));
  }
  for (const Table* table : {&schema.interactions, &schema.items, &schema.users}) {
    if (table->present() && !fs::is_regular_file(table->path))
      throw Error(fmt::format("{}: no such file", table->path.string()));
  }
  const bool implied = options.format == "table";
  if (!schema.items.present() && !options.items_from_interactions && !implied) {
    throw Error(
        fmt::format("{}: no catalogue of format {} there; name it with `items`, or set "
                    "items_from_interactions: true",
                    options.path.empty() ? "." : options.path.string(), options.format));
  }
}

// Fields of a table that is not there: dropped from a preset, an error when the user asked.
void check_fields(const ImportOptions& options, Schema& schema) {
  const auto absent = [&](const Field& field) {
    return (field.side == Side::kItem && !schema.items.present()) ||
           (field.side == Side::kUser && !schema.users.present());
  };
  if (options.fields.empty()) {
    std::erase_if(schema.fields, absent);
    return;
  }
  schema.fields = options.fields;
  for (const Field& field : schema.fields) {
    if (absent(field)) {
      throw Error(fmt::format("field '{}' is on the {} side, but there is no file of {}s",
                              field.name, side_name(field.side), side_name(field.side)));
    }
  }
}

}  // namespace

Schema resolve_schema(const ImportOptions& options) {
  using Resolver = Schema (*)(const ImportOptions&);
  static const std::vector<std::pair<std::string, Resolver>> kFormats = {
      {"amazon2014", amazon_schema},   {"amazon2018", amazon_schema}, {"amazon2023", amazon_schema},
      {"movielens", movielens_schema}, {"table", table_schema},       {"tsv", tsv_schema},
  };
  std::vector<std::string> known;
  for (const auto& [name, resolver] : kFormats) {
    if (name == options.format) {
      Schema schema = resolver(options);
      if (!options.interactions.empty()) schema.interactions.path = options.interactions;
      if (!options.items.empty()) schema.items.path = options.items;
      if (!options.users.empty()) schema.users.path = options.users;
      check_files(options, schema);
      check_fields(options, schema);
      return schema;
    }
    known.push_back(name);
  }
  throw Error(unknown_name("format", options.format, known));
}

}  // namespace llmcf::data
