#include "data/import.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/strings.h"
#include "data/importer.h"
#include "data/presets.h"

namespace llmcf::data {

namespace fs = std::filesystem;

namespace {

fs::path path_of(const Config& config, const std::string& key) {
  const auto text = config.get<std::string>(key, "");
  if (text.empty()) return {};
  return (config.directory() / text).lexically_normal();
}

bool is_text(const Config& config, const std::string& key) {
  try {
    config.get<std::string>(key, "");
    return true;
  } catch (const InputError&) {
    return false;
  }
}

}  // namespace

ImportOptions ImportOptions::from(const Config& config) {
  ImportOptions options;
  options.format =
      config.get_choice("format", options.format,
                        {"amazon2014", "amazon2018", "amazon2023", "movielens", "table", "tsv"});
  options.name = config.get<std::string>("name", "");
  options.path = path_of(config, "path");
  options.interactions = path_of(config, "interactions");
  options.items = path_of(config, "items");
  options.users = path_of(config, "users");
  if (config.has("schema")) {
    if (options.format != "table") config.fail("schema", "only `format: table` takes a schema");
    if (is_text(config, "schema")) {
      options.schema_file = path_of(config, "schema");
    } else {
      options.schema = Schema::from(config.section("schema"));
      if (options.path.empty()) options.path = config.directory();
    }
  }
  options.fields = Schema::fields_from(config);
  options.k_core = config.get_int("k_core", options.k_core, 0, 1 << 30);
  options.deduplicate = config.get<bool>("deduplicate", options.deduplicate);
  options.skip_bad_rows = config.get_int("skip_bad_rows", 0, 0, int64_t{1} << 60);
  options.items_from_interactions =
      config.get<bool>("items_from_interactions", options.items_from_interactions);
  options.keep_untouched_items =
      config.get<bool>("keep_untouched_items", options.keep_untouched_items);
  config.finish();
  return options;
}

std::vector<fs::path> input_files(const ImportOptions& options) {
  const Schema schema = resolve_schema(options);
  std::vector<fs::path> files;
  if (!options.schema && !options.schema_file.empty()) files.push_back(options.schema_file);
  for (const Table* table : {&schema.interactions, &schema.items, &schema.users}) {
    if (table->present()) files.push_back(table->path);
  }
  return files;
}

ImportSummary import_dataset(const ImportOptions& options, const fs::path& out) {
  return Importer(options).run(out);
}

std::string describe(const ImportSummary& summary) {
  std::string text = fmt::format("{} users, {} items, {} events from {} rows",
                                 with_commas(summary.users), with_commas(summary.items),
                                 with_commas(summary.events), with_commas(summary.rows_read));
  const auto line = [&](int64_t count, std::string_view what) {
    if (count > 0) text += fmt::format("\n  {} {}", with_commas(count), what);
  };
  line(summary.duplicate_events, "repeated events dropped");
  line(summary.dropped_by_core, "events dropped by the k-core");
  line(summary.untouched_items, "items without an event kept from the catalogue");
  line(summary.added_items, "items without a catalogue entry");
  line(summary.duplicate_items, "repeated catalogue rows ignored");
  line(summary.bad_rows, "bad rows skipped:");
  for (const auto& [reason, count] : summary.bad_rows_by_reason)
    text += fmt::format("\n    {} {}", with_commas(count), reason);
  for (const std::string& row : summary.first_bad_rows)
    text += fmt::format("\n    e.g. {}", row);
  return text;
}

}  // namespace llmcf::data
