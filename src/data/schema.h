// Schema: which files and columns make a data set. Every importer is a schema; the `table` format
// reads one from YAML, the named formats build theirs (data/presets.h).
//
// Invariants:
//  1. `user` and `item` name the id columns; ids are compared byte by byte.
//  2. Columns are named by the header, or by their number from "1" when there is none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/dataset.h"

namespace llmcf::data {

// How a file is cut into records and columns.
enum class Syntax {
  kDelimited,    // one record per line, columns between separators
  kJsonLines,    // one JSON object per line
  kPythonLines,  // one Python literal (a dict) per line; a line that is JSON is accepted too
};

enum class TimeFormat { kSeconds, kMilliseconds, kIso8601 };

// A column computed from others, for formats whose columns do not say what a field needs.
struct DerivedColumn {
  enum class Rule {
    kYearInTitle,  // "Toy Story (1995)" -> "1995"
    kFlags,        // columns that hold 1 become their names, "Action|Comedy"
  };
  std::string name;
  Rule rule = Rule::kYearInTitle;
  std::vector<std::string> sources;  // kYearInTitle: one column; kFlags: one per label
  std::vector<std::string> labels;   // kFlags only
};

// One input file. An empty path means that the table is absent.
struct Table {
  std::filesystem::path path;
  Syntax syntax = Syntax::kDelimited;
  std::string separator = ",";  // kDelimited only; one or more bytes
  bool quoted = true;           // kDelimited only: RFC 4180 quotes, which may hold line ends
  bool header = true;           // kDelimited only
  bool typed_header = false;    // header names carry ":type" behind the name (RecBole)
  bool latin1 = false;          // ISO 8859-1 instead of UTF-8
  // Texts that stand for "no value", besides the empty one.
  std::vector<std::string> missing;
  std::vector<DerivedColumn> derived;

  std::string user;    // interactions and users
  std::string item;    // interactions and items
  std::string time;    // interactions
  std::string rating;  // interactions; empty = implicit feedback
  std::string title;   // items; empty = no titles
  TimeFormat time_format = TimeFormat::kSeconds;

  bool present() const { return !path.empty(); }
};

struct Schema {
  Table interactions;
  Table items;
  Table users;
  std::vector<Field> fields;

  // Reads the YAML of docs/data.md, without file paths being resolved. Throws InputError with file
  // and line for an unknown key, kind, side or a contradictory field.
  static Schema from(const Config& config);
  // The list of `fields:` alone. Empty if the key is absent.
  static std::vector<Field> fields_from(const Config& config);
};

}  // namespace llmcf::data
