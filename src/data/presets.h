// The schemas of the published formats, and where their files lie. One function per format; a new
// format is one more function and one row in resolve_schema().
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/import.h"
#include "data/schema.h"

namespace llmcf::data {

// The schema with every path in place. Throws Error if a file is missing or several fit.
Schema resolve_schema(const ImportOptions& options);

Schema amazon_schema(const ImportOptions& options);     // 2014, 2018, 2023
Schema movielens_schema(const ImportOptions& options);  // 100K, RecBole's, 1M, CSV
Schema tsv_schema(const ImportOptions& options);

// Files directly in `directory`, sorted by name. Throws Error if it is not a directory.
std::vector<std::filesystem::path> list_files(const std::filesystem::path& directory);
// directory/name, or with .gz or .zst behind it; empty if there is none.
std::filesystem::path find_file(const std::filesystem::path& directory, const std::string& name);
// The column names in a delimited file's first line, as they stand there.
std::vector<std::string> read_header(const Table& table);

}  // namespace llmcf::data
