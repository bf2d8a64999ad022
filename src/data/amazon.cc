// Amazon reviews as published.
//   2014  reviews_*.json.gz and meta_*.json.gz (Python literals), McAuley et al., SIGIR 2015
//   2018  <Category>.json.gz or <Category>_5.json.gz, meta_<Category>.json.gz, Ni et al., EMNLP
//   2019 2023  <Category>.jsonl.gz and meta_<Category>.jsonl.gz, Hou et al., 2024; reviews also as
//   the
//         published CSV of user_id,parent_asin,rating,timestamp
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "data/presets.h"

namespace llmcf::data {

namespace fs = std::filesystem;

namespace {

bool has_suffix(const fs::path& file, std::initializer_list<const char*> suffixes) {
  fs::path name = file.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  for (const char* suffix : suffixes) {
    if (name.extension() == suffix) return true;
  }
  return false;
}

// The one file of the list; empty if there is none.
fs::path the_one(const std::vector<fs::path>& files, const std::string& what) {
  if (files.size() > 1) {
    std::vector<std::string> names;
    for (const fs::path& file : files)
      names.push_back(file.filename().string());
    throw Error(fmt::format("{}: several files could hold the {}: {}; name one with `{}`",
                            files.front().parent_path().string(), what, fmt::join(names, ", "),
                            what));
  }
  return files.empty() ? fs::path() : files.front();
}

void find_files(const ImportOptions& options, Schema& schema) {
  schema.interactions.path = options.interactions;
  schema.items.path = options.items;
  if (options.path.empty()) return;
  std::vector<fs::path> reviews;
  std::vector<fs::path> catalogues;
  for (const fs::path& file : list_files(options.path)) {
    const std::string name = file.filename().string();
    if (!has_suffix(file, {".json", ".jsonl"}) &&
        !(options.format == "amazon2023" && has_suffix(file, {".csv"})))
      continue;
    if (name.starts_with("meta_"))
      catalogues.push_back(file);
    else if (!name.starts_with("qa_"))
      reviews.push_back(file);
  }
  if (options.interactions.empty()) schema.interactions.path = the_one(reviews, "interactions");
  if (options.items.empty()) schema.items.path = the_one(catalogues, "items");
}

}  // namespace

Schema amazon_schema(const ImportOptions& options) {
  const bool v2014 = options.format == "amazon2014";
  const bool v2023 = options.format == "amazon2023";
  Schema schema;
  find_files(options, schema);
  Table& events = schema.interactions;
  events.syntax = v2014 ? Syntax::kPythonLines : Syntax::kJsonLines;
  events.user = v2023 ? "user_id" : "reviewerID";
  events.item = v2023 ? "parent_asin" : "asin";
  events.rating = v2023 ? "rating" : "overall";
  events.time = v2023 ? "timestamp" : "unixReviewTime";
  events.time_format = v2023 ? TimeFormat::kMilliseconds : TimeFormat::kSeconds;
  if (v2023 && has_suffix(events.path, {".csv"})) events.syntax = Syntax::kDelimited;

  schema.items.syntax = v2014 ? Syntax::kPythonLines : Syntax::kJsonLines;
  schema.items.item = v2023 ? "parent_asin" : "asin";
  schema.items.title = "title";
  const char* category = options.format == "amazon2018" ? "category" : "categories";
  schema.fields = {
      {.name = "brand", .source = v2023 ? "store" : "brand"},
      {.name = "category",
       .kind = Kind::kMultiCategorical,
       .source = category,
       .drop_shared = true},
      {.name = "title", .kind = Kind::kText, .source = "title", .history = false},
  };
  return schema;
}

}  // namespace llmcf::data
