// MovieLens in its four layouts, told apart by their files.
//   100K     u.data, u.item, u.user (tabs and bars, no header, ISO 8859-1)
//   RecBole  *.inter, *.item, *.user (tabs, typed header)
//   1M       ratings.dat, movies.dat, users.dat ("::", no header, ISO 8859-1)
//   CSV      ratings.csv, movies.csv (latest, latest-small, 20M, 25M, 32M)
#include <algorithm>

#include "core/error.h"
#include "data/presets.h"

namespace llmcf::data {

namespace fs = std::filesystem;

namespace {

DerivedColumn year_of(const std::string& title) {
  return {"year of the title", DerivedColumn::Rule::kYearInTitle, {title}, {}};
}

Table table(const std::string& separator, bool header, bool latin1) {
  Table made;
  made.separator = separator;
  made.quoted = separator == ",";
  made.header = header;
  made.latin1 = latin1;
  return made;
}

std::vector<Field> movie_fields(const std::string& genres, char separator, const std::string& year,
                                const std::string& title) {
  return {
      {.name = "genres", .kind = Kind::kMultiCategorical, .source = genres, .separator = separator},
      {.name = "year", .source = year},
      {.name = "title", .kind = Kind::kText, .source = title, .history = false},
  };
}

void add_user_fields(std::vector<Field>& fields, const std::string& gender, const std::string& age,
                     const std::string& occupation) {
  fields.push_back({.name = "gender", .side = Side::kUser, .source = gender});
  fields.push_back(
      {.name = "age", .side = Side::kUser, .kind = Kind::kNumeric, .source = age, .buckets = 7});
  fields.push_back({.name = "occupation", .side = Side::kUser, .source = occupation});
}

Schema csv_layout(const fs::path& directory) {
  Schema schema;
  schema.interactions = schema.items = table(",", true, false);
  schema.interactions.path = find_file(directory, "ratings.csv");
  schema.interactions.user = "userId";
  schema.interactions.item = "movieId";
  schema.interactions.rating = "rating";
  schema.interactions.time = "timestamp";
  schema.items.path = find_file(directory, "movies.csv");
  schema.items.item = "movieId";
  schema.items.title = "title";
  schema.items.missing = {"(no genres listed)"};
  schema.items.derived = {year_of("title")};
  schema.fields = movie_fields("genres", '|', "year of the title", "title");
  return schema;
}

Schema dat_layout(const fs::path& directory) {
  Schema schema;
  schema.interactions = schema.items = schema.users = table("::", false, true);
  schema.interactions.path = find_file(directory, "ratings.dat");
  schema.interactions.user = "1";
  schema.interactions.item = "2";
  schema.interactions.rating = "3";
  schema.interactions.time = "4";
  schema.items.path = find_file(directory, "movies.dat");
  schema.items.item = "1";
  schema.items.title = "2";
  schema.items.derived = {year_of("2")};
  schema.users.path = find_file(directory, "users.dat");
  schema.users.user = "1";
  schema.fields = movie_fields("3", '|', "year of the title", "2");
  add_user_fields(schema.fields, "2", "3", "4");
  return schema;
}

// u.item ends in 19 columns of 0 and 1, one per genre; "unknown" is no genre.
Schema classic_layout(const fs::path& directory) {
  Schema schema;
  schema.interactions = table("\t", false, true);
  schema.items = schema.users = table("|", false, true);
  schema.interactions.path = find_file(directory, "u.data");
  schema.interactions.user = "1";
  schema.interactions.item = "2";
  schema.interactions.rating = "3";
  schema.interactions.time = "4";
  schema.items.path = find_file(directory, "u.item");
  schema.items.item = "1";
  schema.items.title = "2";
  DerivedColumn genres{"genre flags", DerivedColumn::Rule::kFlags, {}, {}};
  genres.labels = {"Action",      "Adventure", "Animation", "Children's", "Comedy", "Crime",
                   "Documentary", "Drama",     "Fantasy",   "Film-Noir",  "Horror", "Musical",
                   "Mystery",     "Romance",   "Sci-Fi",    "Thriller",   "War",    "Western"};
  for (size_t column = 0; column < genres.labels.size(); ++column)
    genres.sources.push_back(std::to_string(column + 7));
  schema.items.derived = {year_of("2"), genres};
  schema.users.path = find_file(directory, "u.user");
  schema.users.user = "1";
  schema.fields = movie_fields("genre flags", '|', "year of the title", "2");
  add_user_fields(schema.fields, "3", "2", "4");
  return schema;
}

bool has_column(const Table& table, const std::string& name) {
  for (const std::string& column : read_header(table)) {
    if (column.substr(0, column.rfind(':')) == name) return true;
  }
  return false;
}

// Column names differ between RecBole's conversions: take those that are there.
Schema atomic_layout(const fs::path& inter) {
  Schema schema;
  schema.interactions = schema.items = schema.users = table("\t", true, false);
  for (Table* part : {&schema.interactions, &schema.items, &schema.users})
    part->typed_header = true;
  fs::path stem = inter;
  stem.replace_extension();
  schema.interactions.path = inter;
  schema.interactions.user = "user_id";
  schema.interactions.item = "item_id";
  schema.interactions.time = "timestamp";
  if (has_column(schema.interactions, "rating")) schema.interactions.rating = "rating";
  schema.items.path = find_file(stem.parent_path(), stem.filename().string() + ".item");
  if (schema.items.present()) {
    schema.items.item = "item_id";
    schema.items.title = "movie_title";
    const bool year = has_column(schema.items, "release_year");
    schema.items.derived = {year_of("movie_title")};
    schema.fields = movie_fields(has_column(schema.items, "class") ? "class" : "genre", ' ',
                                 year ? "release_year" : "year of the title", "movie_title");
  }
  schema.users.path = find_file(stem.parent_path(), stem.filename().string() + ".user");
  schema.users.user = "user_id";
  if (schema.users.present()) add_user_fields(schema.fields, "gender", "age", "occupation");
  return schema;
}

}  // namespace

Schema movielens_schema(const ImportOptions& options) {
  const fs::path directory =
      options.path.empty() ? options.interactions.parent_path() : options.path;
  if (options.interactions.extension() == ".inter") return atomic_layout(options.interactions);
  for (const fs::path& file : list_files(directory)) {
    if (file.extension() == ".inter") return atomic_layout(file);
  }
  if (!find_file(directory, "u.data").empty()) return classic_layout(directory);
  if (!find_file(directory, "ratings.dat").empty()) return dat_layout(directory);
  if (!find_file(directory, "ratings.csv").empty()) return csv_layout(directory);
  throw Error(directory.string() +
              ": no MovieLens files there; expected u.data, *.inter, ratings.dat or ratings.csv");
}

}  // namespace llmcf::data
