// Benchmarks of room data.
//
//   data.import              interactions per second, 20 million MovieLens-like ratings from CSV
//   data.import.seconds      the same import in seconds
//   data.import.peak_memory  resident memory of the process at its highest
//   data.import.json         reviews per second, Amazon-2018-like JSON lines
//   data.rows                rows per second of a leave-one-out split with one negative each
//
// The inputs are written to a temporary directory first and not timed. LLMCF_BENCH_ROWS changes the
// number of ratings.
#include <cstdlib>

#include <fmt/format.h>

#include "bench/bench.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/random.h"
#include "core/threads.h"
#include "data/import.h"
#include "data/rows.h"

namespace {

using namespace llmcf;

constexpr int64_t kUsers = 138493;
constexpr int64_t kItems = 26744;

// Skewed like real catalogues: a few items take most of the ratings.
int64_t popular_item(Random& random) {
  const double u = random.uniform();
  return static_cast<int64_t>(u * u * u * double(kItems)) % kItems;
}

void write_movies(const std::filesystem::path& directory) {
  AtomicFile file(directory / "movies.csv");
  file.write("movieId,title,genres\n");
  for (int64_t item = 0; item < kItems; ++item)
    file.write(fmt::format("{},\"Film, The {} ({})\",Drama|Comedy|Genre{}\n", item + 1, item,
                           1920 + item % 100, item % 17));
  file.commit();
}

// Ratings grouped by user, like the published files.
void write_ratings(const std::filesystem::path& directory, int64_t rows) {
  Random random(1, "data_bench");
  AtomicFile file(directory / "ratings.csv");
  file.write("userId,movieId,rating,timestamp\n");
  std::string line;
  for (int64_t row = 0; row < rows; ++row) {
    line.clear();
    fmt::format_to(std::back_inserter(line), "{},{},{}.{},{}\n", row * kUsers / rows + 1,
                   popular_item(random) + 1, random.below(5), random.below(2) * 5,
                   789652009 + random.below(600000000));
    file.write(line);
  }
  file.commit();
}

void write_reviews(const std::filesystem::path& directory, int64_t rows) {
  Random random(2, "data_bench");
  AtomicFile file(directory / "reviews.json");
  for (int64_t row = 0; row < rows; ++row) {
    file.write(fmt::format(
        "{{\"overall\": {}.0, \"verified\": true, \"reviewTime\": \"04 3, 2016\", \"reviewerID\": "
        "\"A{}\", \"asin\": \"B{:09}\", \"reviewerName\": \"A. Customer\", \"reviewText\": "
        "\"{:x>300}\", \"summary\": \"Five Stars\", \"unixReviewTime\": {}}}\n",
        1 + random.below(5), random.below(kUsers), random.below(kItems), row,
        1300000000 + random.below(200000000)));
  }
  file.commit();
}

void bench_import(const std::filesystem::path& directory) {
  const char* wanted_rows = std::getenv("LLMCF_BENCH_ROWS");
  const int64_t rows = wanted_rows != nullptr ? std::atoll(wanted_rows) : 20'000'000;
  write_movies(directory);
  write_ratings(directory, rows);
  data::ImportOptions options;
  options.format = "movielens";
  options.path = directory;
  const auto out = directory / "dataset.safetensors";
  const double taken = bench::seconds([&] { data::import_dataset(options, out); });
  std::fprintf(stderr, "# %lld ratings, %d threads\n", static_cast<long long>(rows),
               thread_count());
  bench::report("data.import", static_cast<double>(rows) / taken, "rows/s");
  bench::report("data.import.seconds", taken, "s");
  bench::report("data.import.peak_memory", bench::peak_memory_mib(), "MiB");
  if (!bench::wanted("data.rows")) return;
  const data::Dataset dataset(out);
  const double split =
      bench::seconds([&] { data::write_rows(dataset, {}, directory / "rows.safetensors"); });
  const data::RowSet set(directory / "rows.safetensors");
  bench::report("data.rows", static_cast<double>(set.train().size()) / split, "rows/s");
}

void bench_json(const std::filesystem::path& directory) {
  constexpr int64_t kRows = 500'000;
  write_reviews(directory, kRows);
  data::ImportOptions options;
  options.format = "amazon2018";
  options.interactions = directory / "reviews.json";
  options.items_from_interactions = true;
  const double taken =
      bench::seconds([&] { data::import_dataset(options, directory / "json.safetensors"); });
  bench::report("data.import.json", static_cast<double>(kRows) / taken, "rows/s");
}

}  // namespace

int main(int argc, char** argv) {
  bench::init(argc, argv);
  set_progress_enabled(false);
  const TemporaryDirectory directory;
  const bool ratings = bench::wanted("data.import") || bench::wanted("data.rows");
  if (ratings && bench::filter() != "data.import.json") bench_import(directory.path());
  if (bench::wanted("data.import.json")) bench_json(directory.path());
  return 0;
}
