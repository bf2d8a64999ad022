// Retrieval on synthetic data of the size of Amazon Beauty: 22,363 users, 12,101 items, 352,278
// queries (a positive and a negative per position), 26,283 examples, W = 256, K = 4, protocol
// strict.
//
//   retrieve.assign           queries per second, end to end (history vectors, packing, search,
//   slots) retrieve.assign.seconds   the same run retrieve.assign.gflops    arithmetic of the
//   matrix products over the whole run; the limit is what one large OpenBLAS
//                             product reaches here in the same process
//   retrieve.assign.memory    peak resident memory
//   retrieve.history_mean     history vectors per second, whole histories
//   retrieve.search           milliseconds for one request with 100 candidates on one thread
#include <algorithm>
#include <cmath>
#include <numeric>

#include <cblas.h>

#include "bench/bench.h"
#include "core/progress.h"
#include "core/random.h"
#include "core/threads.h"
#include "retrieval/assign.h"
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
};

struct Shop {
  std::vector<float> text;
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

// Purchases: at least 5 per user, growing in number over ten years, times in days.
Shop make_shop() {
  Random random(2023, "bench.retrieval");
  Shop shop;
  shop.text = make_texts(random);
  shop.items.resize(kUsers + 1);
  int64_t events = 0;
  for (int64_t user = 1; user <= kUsers; ++user) {
    const double mean_extra = static_cast<double>(kEvents) / kUsers - 5;
    const auto count =
        5 + static_cast<int64_t>(-std::log(1 - random.uniform()) * mean_extra + random.uniform());
    auto day = static_cast<int64_t>(3650 * std::cbrt(random.uniform()));
    for (int64_t p = 0; p < count; ++p) {
      const auto item = static_cast<int32_t>(1 + random.below(kItems));
      if (p > 0) {
        const auto negative = static_cast<int32_t>(1 + random.below(kItems));
        const auto u = static_cast<int32_t>(user);
        shop.rows.add(u, item, static_cast<int32_t>(p), 1, day * 86400);
        shop.rows.add(u, negative, static_cast<int32_t>(p), 0, day * 86400);
        // The last two positions are validation and test.
        for (size_t row = shop.rows.user.size() - 2; row < shop.rows.user.size() && p < count - 2;
             ++row)
          if (random.below(10) == 0)
            shop.pool.add(u, shop.rows.item[row], static_cast<int32_t>(p), shop.rows.label[row],
                          day * 86400);
      }
      shop.items[static_cast<size_t>(user)].push_back(item);
      day += static_cast<int64_t>(random.below(60) * random.below(2));
      ++events;
    }
  }
  std::fprintf(stderr, "# %lld events, %zu queries, %zu examples, %d threads, %s\n",
               static_cast<long long>(events), shop.rows.user.size(), shop.pool.user.size(),
               thread_count(), retrieval::kernels::instruction_set());
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

void run() {
  const Shop shop = make_shop();
  const Columns& r = shop.rows;
  const Columns& p = shop.pool;
  const retrieval::Texts texts{.item_text = shop.text, .width = kWidth};
  const retrieval::HistoryLookup lookup = [&](int32_t user, int32_t position) {
    return std::span(shop.items[static_cast<size_t>(user)]).first(static_cast<size_t>(position));
  };
  const retrieval::Pool pool{
      .user = p.user, .item = p.item, .position = p.position, .label = p.label, .time = p.time};
  const retrieval::Queries queries{
      .user = r.user, .item = r.item, .position = r.position, .time = r.time};
  if (bench::wanted("retrieve.history_mean")) {
    std::vector<float> out(r.user.size() * kWidth);
    const double seconds = bench::median_seconds(
        3, [&] { retrieval::history_mean(lookup, texts, r.user, r.position, 0, out); });
    bench::report("retrieve.history_mean", static_cast<double>(r.user.size()) / seconds,
                  "vectors/s");
  }
  if (bench::wanted("retrieve.search")) {
    const retrieval::Searcher searcher(pool, texts, lookup, {});
    const std::vector<float> history(shop.text.begin() + kWidth, shop.text.begin() + 2 * kWidth);
    std::vector<int32_t> candidates(100);
    std::iota(candidates.begin(), candidates.end(), 1);
    const retrieval::Request request{.time = int64_t{1} << 40, .history = history};
    const double seconds = bench::median_seconds(20, [&] { searcher.search(request, candidates); });
    bench::report("retrieve.search", seconds * 1e3, "ms");
  }
  if (!bench::wanted("retrieve.assign")) return;
  retrieval::AssignCost cost;
  const double seconds =
      bench::seconds([&] { retrieval::assign(pool, queries, texts, lookup, {}, {}, &cost); });
  const double memory = bench::peak_memory_mib();
  bench::report("retrieve.assign", static_cast<double>(r.user.size()) / seconds, "queries/s");
  bench::report("retrieve.assign.seconds", seconds, "s", "60");
  bench::report("retrieve.assign.gflops", cost.flops / seconds / 1e9, "GFLOP/s",
                std::to_string(sgemm_peak()));
  bench::report("retrieve.assign.memory", memory, "MiB");
}

}  // namespace
}  // namespace llmcf

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::set_progress_enabled(false);
  llmcf::run();
}
