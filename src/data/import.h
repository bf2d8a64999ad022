// The front door of importing: published or own files in, one data set file out.
//
//   data::ImportOptions options = data::ImportOptions::from(config.section("data"));
//   data::ImportSummary summary = data::import_dataset(options, "data/dataset.safetensors");
//   fmt::print("{}\n", data::describe(summary));
//   data::Dataset dataset("data/dataset.safetensors");
//
// Invariants:
//  1. The output is the whole data set or what was there before: never half a file.
//  2. The same inputs and options give the same bytes, for any number of threads.
//  3. Order of work: catalogue, interactions, order by (user, time, input), de-duplication, k-core,
//     user attributes. Items and users that k-core removes appear nowhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "data/schema.h"

namespace llmcf::data {

// The configuration's `data` section. Relative paths start at the configuration's directory.
struct ImportOptions {
  // amazon2014 | amazon2018 | amazon2023 | tsv | movielens | table
  std::string format = "table";
  std::string name;  // shown in reports; empty = the name of the directory

  // Where to look for the format's files, and files named one by one (which win).
  std::filesystem::path path;
  std::filesystem::path interactions;
  std::filesystem::path items;
  std::filesystem::path users;

  // `table` only: the schema, either a file or inline; exactly one of the two.
  std::filesystem::path schema_file;
  std::optional<Schema> schema;
  // Replaces the format's list of fields unless empty.
  std::vector<Field> fields;

  int64_t k_core = 0;        // users and items with fewer events are removed, repeatedly; 0 = off
  bool deduplicate = false;  // keep the earliest event of each user and item
  // Rows that may be unreadable before the import fails, over all files.
  int64_t skip_bad_rows = 0;
  // Items that the catalogue does not hold are added without attributes instead of being errors.
  bool items_from_interactions = false;
  // Keep items of the catalogue that nobody touched (cold items). Always dropped under k_core.
  bool keep_untouched_items = true;

  // Users to leave out, by the input's id (asked once per event; not a key of the section); empty =
  // none.
  std::function<bool(std::string_view user)> exclude_user;

  static ImportOptions from(const Config& config);
};

struct ImportSummary {
  int64_t users = 0;
  int64_t items = 0;
  int64_t events = 0;
  int64_t rows_read = 0;  // of the interactions, bad ones included
  int64_t untouched_items = 0;
  int64_t added_items = 0;       // items_from_interactions
  int64_t duplicate_events = 0;  // dropped by `deduplicate`
  int64_t duplicate_items = 0;   // later rows of an item the catalogue already held: ignored
  int64_t dropped_by_core = 0;   // events
  int64_t excluded_events = 0;   // of users to leave out
  int64_t bad_rows = 0;          // skipped
  std::map<std::string, int64_t> bad_rows_by_reason;  // e.g. "bad number": 3
  std::vector<std::string> first_bad_rows;            // "file:line: reason", at most 5
};

// A few lines for people.
std::string describe(const ImportSummary& summary);

// Every file the import reads, the schema's file included: what a content hash covers. Throws
// Error if a file is missing or a directory holds none or several that fit.
std::vector<std::filesystem::path> input_files(const ImportOptions& options);

// Throws InputError with file, line, reason and remedy for bad input.
ImportSummary import_dataset(const ImportOptions& options, const std::filesystem::path& out);

}  // namespace llmcf::data
