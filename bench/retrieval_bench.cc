// Retrieval on synthetic data of the size of Amazon Beauty: 22,363 users, 12,101 items, about
// 352,000 queries (a positive and a negative per position), 26,000 examples, W = 256, K = 4,
// protocol strict.
//
//   retrieve.assign           queries per second, end to end
//   retrieve.assign.seconds   the same run; the limit is its arithmetic at sgemm's speed
//   retrieve.assign.gflops    arithmetic of the matrix products over the whole run; the limit is
//                             what one large OpenBLAS product reaches in the same process
//   retrieve.assign.memory    peak resident memory
//   retrieve.assign.beauty.*  the same with the histories and times of the real data set (texts are
//                             synthetic); only where LLMCF_SHARED names the directory that holds it
//   retrieve.history_mean     history vectors per second, whole histories
//   retrieve.search           milliseconds for one request with 100 candidates on one thread
//   retrieve.items.ranks      users per second against 1,000,000 items of 64 dimensions (ranks with
//                             seen items excluded); .best: their 20 best items; .gflops as above
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <cblas.h>
#include <fmt/format.h>

#include "bench/bench.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/random.h"
#include "core/threads.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/rows.h"
#include "retrieval/approximate_items.h"
#include "retrieval/assign.h"
#include "retrieval/item_index.h"
#include "retrieval/kernels.h"
#include "retrieval/searcher.h"

namespace llmcf {
namespace {

constexpr int64_t kUsers = 22363;
constexpr int64_t kItems = 12101;
constexpr int64_t kWidth = 256;
constexpr int64_t kEvents = 198502;

// Columns of rows or examples.
struct Columns {
  std::vector<int32_t> user, item, position;
  std::vector<float> label;
  std::vector<int64_t> time;

  void add(int32_t u, int32_t i, int32_t p, float l, int64_t t) {
    user.push_back(u);
    item.push_back(i);
    position.push_back(p);
    label.push_back(l);
    time.push_back(t);
  }
  retrieval::Pool pool() const {
    return {.user = user, .item = item, .position = position, .label = label, .time = time};
  }
  retrieval::Queries queries() const {
    return {.user = user, .item = item, .position = position, .time = time};
  }
};

struct Shop {
  std::vector<std::vector<int32_t>> items;  // by user
  Columns rows;
  Columns pool;
};

// Unit vectors around 200 directions, as texts of a catalogue are.
std::vector<float> make_texts(Random& random) {
  std::vector<float> centres(200 * kWidth);
  for (float& value : centres)
    value = static_cast<float>(random.normal());
  std::vector<float> text((kItems + 1) * kWidth, 0.0F);
  for (int64_t item = 1; item <= kItems; ++item) {
    float* row = text.data() + item * kWidth;
    const float* centre = centres.data() + random.below(200) * kWidth;
    double norm = 0;
    for (int64_t k = 0; k < kWidth; ++k) {
      row[k] = centre[k] + static_cast<float>(random.normal());
      norm += row[k] * row[k];
    }
    for (int64_t k = 0; k < kWidth; ++k)
      row[k] /= static_cast<float>(std::sqrt(norm));
  }
  return text;
}

// One in ten of the training rows becomes an example.
void maybe_example(const Columns& rows, size_t row, Random& random, Columns& pool) {
  if (random.below(10) != 0) return;
  pool.add(rows.user[row], rows.item[row], rows.position[row], rows.label[row], rows.time[row]);
}

// A user's purchases on days of their own: a positive and a negative row for all but the first.
void add_user(int32_t user, int64_t count, Random& random, Shop& shop) {
  auto day = static_cast<int64_t>(3650 * std::cbrt(random.uniform()));  // a growing shop
  for (int64_t p = 0; p < count;
       ++p, day += static_cast<int64_t>(random.below(60) * random.below(2))) {
    const auto item = static_cast<int32_t>(1 + random.below(kItems));
    shop.items[static_cast<size_t>(user)].push_back(item);
    if (p == 0) continue;
    const auto negative = static_cast<int32_t>(1 + random.below(kItems));
    shop.rows.add(user, item, static_cast<int32_t>(p), 1, day * 86400);
    shop.rows.add(user, negative, static_cast<int32_t>(p), 0, day * 86400);
    if (p >= count - 2) continue;  // validation and test
    maybe_example(shop.rows, shop.rows.user.size() - 2, random, shop.pool);
    maybe_example(shop.rows, shop.rows.user.size() - 1, random, shop.pool);
  }
}

Shop make_shop(Random& random) {
  Shop shop;
  shop.items.resize(kUsers + 1);
  const double mean_extra = static_cast<double>(kEvents) / kUsers - 5;
  for (int32_t user = 1; user <= kUsers; ++user) {
    const double extra = -std::log(1 - random.uniform()) * mean_extra;
    add_user(user, 5 + static_cast<int64_t>(extra + random.uniform()), random, shop);
  }
  return shop;
}

// GFLOP/s of a large product with all threads.
double sgemm_peak() {
  constexpr int kSize = 3072;
  openblas_set_num_threads(thread_count());
  std::vector<float> a(kSize * kSize, 0.5F), b(kSize * kSize, 0.25F), c(kSize * kSize);
  const double seconds = bench::median_seconds(3, [&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kSize, kSize, kSize, 1, a.data(), kSize,
                b.data(), kSize, 0, c.data(), kSize);
  });
  return 2.0 * kSize * kSize * kSize / seconds / 1e9;
}

// What assign() reads.
struct Problem {
  retrieval::Pool pool;
  std::vector<retrieval::Queries> parts;
  retrieval::Texts texts;
  retrieval::HistoryLookup histories;
};

void bench_history_mean(const Problem& problem) {
  if (!bench::wanted("retrieve.history_mean")) return;
  const retrieval::Queries& queries = problem.parts[0];
  std::vector<float> out(queries.user.size() * kWidth);
  const double seconds = bench::median_seconds(3, [&] {
    retrieval::history_mean(problem.histories, problem.texts, queries.user, queries.position, 0,
                            out);
  });
  bench::report("retrieve.history_mean", static_cast<double>(queries.size()) / seconds,
                "vectors/s");
}

void bench_search(const Problem& problem) {
  if (!bench::wanted("retrieve.search")) return;
  const retrieval::Searcher searcher(problem.pool, problem.texts, problem.histories, {});
  std::vector<int32_t> candidates(100);
  std::iota(candidates.begin(), candidates.end(), 1);
  const retrieval::Request request{.time = int64_t{1} << 40, .history = problem.texts.row(1)};
  const double seconds = bench::median_seconds(20, [&] { searcher.search(request, candidates); });
  bench::report("retrieve.search", seconds * 1e3, "ms");
}

// `variant` is "" or begins with a dot.
void bench_assign(const Problem& problem, const std::string& variant) {
  retrieval::AssignCost cost;
  const double seconds = bench::seconds([&] {
    retrieval::assign(problem.pool, problem.parts, problem.texts, problem.histories, {}, {}, &cost);
  });
  const double memory = bench::peak_memory_mib();
  int64_t queries = 0;
  for (const retrieval::Queries& part : problem.parts)
    queries += part.size();
  std::fprintf(stderr, "# %lld queries, %lld examples, %d threads, %s, %.2f TFLOP\n",
               static_cast<long long>(queries), static_cast<long long>(problem.pool.size()),
               thread_count(), retrieval::kernels::instruction_set(), cost.flops / 1e12);
  const std::string name = "retrieve.assign" + variant;
  bench::report(name, static_cast<double>(queries) / seconds, "queries/s");
  const double peak = sgemm_peak();  // GFLOP/s
  bench::report(name + ".seconds", seconds, "s", std::to_string(cost.flops / peak / 1e9));
  bench::report(name + ".gflops", cost.flops / seconds / 1e9, "GFLOP/s", std::to_string(peak));
  bench::report(name + ".memory", memory, "MiB");
}

// The real histories and times, with the synthetic texts.
void bench_beauty(const std::vector<float>& text, Random& random) {
  const char* shared = std::getenv("LLMCF_SHARED");
  if (shared == nullptr || !bench::wanted("retrieve.assign.beauty")) return;
  const TemporaryDirectory directory;
  data::ImportOptions options;
  options.format = "tsv";
  options.path = std::filesystem::path(shared) / "data" / "amazon-beauty";
  if (!std::filesystem::exists(options.path)) return;
  data::import_dataset(options, directory.path() / "dataset");
  data::write_rows(data::Dataset(directory.path() / "dataset"), {}, directory.path() / "rows");
  const data::RowSet rows(directory.path() / "rows");
  Columns train;
  train.user.assign(rows.train().user.begin(), rows.train().user.end());
  train.item.assign(rows.train().item.begin(), rows.train().item.end());
  train.position.assign(rows.train().position.begin(), rows.train().position.end());
  train.label.assign(rows.train().label.begin(), rows.train().label.end());
  train.time.assign(rows.train().time.begin(), rows.train().time.end());
  Columns pool;
  for (size_t row = 0; row < train.user.size(); ++row)
    maybe_example(train, row, random, pool);
  Problem problem{.pool = pool.pool(),
                  .parts = {},
                  .texts = {.item_text = text, .width = kWidth},
                  .histories = retrieval::histories_of(rows)};
  for (const data::Split split : {data::Split::kTrain, data::Split::kValid, data::Split::kTest})
    problem.parts.push_back(retrieval::Queries::of(rows.rows(split)));
  bench_assign(problem, ".beauty");
}

constexpr int64_t kCatalogue = 1'000'000, kItemDim = 64, kListed = 20;

// [rows, kItemDim] around `centres` [clusters, kItemDim]; without centres, uniform in [-1, 1].
std::vector<float> vectors_around(int64_t rows, std::span<const float> centres, Random& random) {
  std::vector<float> values(static_cast<size_t>(rows * kItemDim));
  for (size_t row = 0; row < values.size(); row += kItemDim) {
    const size_t centre =
        centres.empty() ? 0 : random.below(centres.size() / kItemDim) * size_t{kItemDim};
    for (size_t d = 0; d < kItemDim; ++d)
      values[row + d] = centres.empty() ? static_cast<float>(random.uniform(-1, 1))
                                        : centres[centre + d] + static_cast<float>(random.normal());
  }
  return values;
}

// All items of a large catalogue against `asking` users, exactly.
void bench_items(const std::string& name, int64_t asking, int repeats, Random& random) {
  if (!bench::wanted(name)) return;
  const std::vector<float> users = vectors_around(asking, {}, random);
  const retrieval::ItemIndex index(vectors_around(kCatalogue + 1, {}, random), kItemDim);
  std::vector<int32_t> targets, seen;
  for (int64_t user = 0; user < asking; ++user)
    targets.push_back(static_cast<int32_t>(random.below(kCatalogue)) + 1);
  for (int64_t item = 0; item < 20; ++item)
    seen.push_back(static_cast<int32_t>(random.below(kCatalogue)) + 1);
  const double peak = sgemm_peak();
  const double flops = 2.0 * kCatalogue * kItemDim;  // per user
  const auto report = [&](const std::string& what, double seconds) {
    const double rate = static_cast<double>(asking) / seconds;
    bench::report(name + what, rate, "users/s", std::to_string(peak * 1e9 / flops));
    bench::report(name + what + ".gflops", rate * flops / 1e9, "GFLOP/s", std::to_string(peak));
  };
  report(".ranks", bench::median_seconds(repeats, [&] {
           index.ranks(users, targets, [&](int64_t) { return std::span<const int32_t>(seen); });
         }));
  report(".best", bench::median_seconds(repeats, [&] { index.best(users, kListed); }));
  bench::report(name + ".memory", bench::peak_memory_mib(), "MiB");
}

// The same catalogue in clusters, from proposals: how much faster, and what is missed.
void bench_approximate_items(Random& random) {
  const std::string name = "retrieve.items.approximate";
  if (!bench::wanted(name)) return;
  constexpr int64_t kAsking = 1'024, kClusters = 2'000;
  std::vector<float> centres(static_cast<size_t>(kClusters * kItemDim));
  for (float& value : centres)
    value = static_cast<float>(random.normal());
  const std::vector<float> users = vectors_around(kAsking, centres, random);
  const retrieval::ItemIndex index(vectors_around(kCatalogue + 1, centres, random), kItemDim);
  std::unique_ptr<retrieval::ApproximateItems> items;
  bench::report(name + ".build",
                bench::median_seconds(1,
                                      [&] {
                                        items = std::make_unique<retrieval::ApproximateItems>(
                                            index, retrieval::ApproximateOptions{});
                                      }),
                "s");
  retrieval::BestItems exact(0, kListed), close(0, kListed);
  const auto one = std::span(users).first(kItemDim);  // what a request asks
  const auto report_one = [&](const std::string& what, const auto& of) {
    bench::report(what + ".one", 1e3 * bench::median_seconds(21, [&] { of.best(one, kListed); }),
                  "ms");
  };
  const double all = bench::median_seconds(3, [&] { exact = index.best(users, kListed); });
  bench::report(name + ".exact", kAsking / all, "users/s");
  report_one(name + ".exact", index);
  for (const int64_t probes : {4, 16, 64}) {
    items->set_probes(probes);
    const double some = bench::median_seconds(3, [&] { close = items->best(users, kListed); });
    const std::string with = fmt::format("{}.probes{}", name, probes);
    bench::report(with, kAsking / some, "users/s");
    report_one(with, *items);
    bench::report(with + ".recall@20", retrieval::recall(exact, close), "");
  }
  bench::report(name + ".memory", bench::peak_memory_mib(), "MiB");
}

void run() {
  Random random(2023, "bench.retrieval");
  const std::vector<float> text = make_texts(random);
  const Shop shop = make_shop(random);
  const Problem problem{.pool = shop.pool.pool(),
                        .parts = {shop.rows.queries()},
                        .texts = {.item_text = text, .width = kWidth},
                        .histories = [&](int32_t user, int32_t position) {
                          return std::span(shop.items[static_cast<size_t>(user)])
                              .first(static_cast<size_t>(position));
                        }};
  bench_history_mean(problem);
  bench_search(problem);
  if (bench::wanted("retrieve.assign") && !bench::filter().starts_with("retrieve.assign.beauty"))
    bench_assign(problem, "");
  bench_beauty(text, random);
  bench_items("retrieve.items", 3'072, 3, random);
  if (bench::filter() == "retrieve.whole")  // minutes: only when asked for
    bench_items("retrieve.whole", 100'000, 1, random);
  bench_approximate_items(random);
}

}  // namespace
}  // namespace llmcf

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::set_progress_enabled(false);
  llmcf::run();
}
