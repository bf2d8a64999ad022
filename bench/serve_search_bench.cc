// What finding examples costs a request for 1,000 candidates of one user, on one core: 25,000
// examples, read whole (exact), and 1,000,000 examples in cells, with the share of the best
// examples of an exhaustive search that are found. Vectors are 256-d, clustered; K = 8, four of
// each label. LLMCF_BUNDLE names a published bundle to measure instead.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/beauty_shape.h"
#include "bench/bench.h"
#include "core/files.h"
#include "core/random.h"
#include "core/threads.h"
#include "retrieval/searcher.h"
#include "serve/example_search.h"

namespace llmcf::serve {
namespace {

constexpr int64_t kCandidates = 1000;
constexpr int kRequests = 1000;
constexpr int kCompared = 12;            // requests, with
constexpr int64_t kComparedItems = 100;  // candidates each

struct Bench {
  explicit Bench(const std::filesystem::path& file)
      : bundle(std::make_shared<const Bundle>(file)), catalogue(bundle), search(*bundle) {}

  int32_t any(int64_t count) {
    return static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(count)));
  }
  // Fills `slots` for a random user.
  void request(int64_t candidates) {
    const BundleSpec& spec = bundle->spec();
    arena.reset();
    user = any(spec.users);
    items.resize(static_cast<size_t>(candidates));
    for (int32_t& item : items)
      item = any(spec.items);
    vector.resize(static_cast<size_t>(spec.retrieval_width));
    slots = Slots::make(candidates, spec.retrieval.k, arena);
    seconds.push_back(bench::seconds([&] {
      search.history_vector(catalogue, 0, bundle->history(user), vector.data());
      search.search(catalogue, 0, vector.data(), items, arena, slots, &cost);
    }));
  }

  std::shared_ptr<const Bundle> bundle;
  Catalogue catalogue;
  ExampleSearch search;
  Random random{1, "bench.search"};
  ScratchArena arena;
  Slots slots;
  SearchCost cost;
  int32_t user = 0;
  std::vector<int32_t> items;
  std::vector<float> vector;
  std::vector<double> seconds;
};

double quantile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

// Share of the exhaustive search's examples that are found, and how many of all slots are filled.
void compare(const std::string& name, Bench& bench) {
  const BundleSpec& spec = bench.bundle->spec();
  const Examples& examples = bench.bundle->examples();
  std::vector<float> labels;
  for (const int32_t label : examples.label)
    labels.push_back(static_cast<float>(label));
  const retrieval::Texts texts{.item_text = bench.bundle->reader().get<float>("retrieval.items.0"),
                               .width = spec.retrieval_width};
  const retrieval::Searcher exhaustive(
      {.user = examples.user,
       .item = examples.item,
       .position = examples.position,
       .label = labels,
       .time = examples.time},
      texts,
      [&](int32_t user, int32_t position) {
        return bench.bundle->history(user).first(static_cast<size_t>(position));
      },
      spec.retrieval);
  int64_t wanted = 0, found = 0;
  for (int i = 0; i < kCompared; ++i) {
    bench.request(kComparedItems);
    const retrieval::Assignment best = exhaustive.search({.user = bench.user,
                                                          .position = 1 << 30,
                                                          .time = int64_t{1} << 60,
                                                          .history = bench.vector},
                                                         bench.items);
    const int64_t k = spec.retrieval.k;
    for (int64_t row = 0; row < kComparedItems; ++row) {
      const auto* own = bench.slots.ids + row * k;
      for (int64_t slot = row * k; slot < (row + 1) * k; ++slot) {
        if (best.ids[static_cast<size_t>(slot)] < 0) continue;
        ++wanted;
        found += std::count(own, own + k, best.ids[static_cast<size_t>(slot)]);
      }
    }
  }
  bench::report(name + ".recall", static_cast<double>(found) / static_cast<double>(wanted), "share",
                "0.95");
}

void bench_bundle(const std::string& name, const std::filesystem::path& file,
                  const std::string& limit) {
  Bench bench(file);
  for (int i = 0; i < kRequests / 10; ++i)
    bench.request(kCandidates);
  bench.seconds.clear();
  bench.cost = {};
  for (int i = 0; i < kRequests; ++i)
    bench.request(kCandidates);
  const SearchCost cost = bench.cost;
  bench::report(name + ".p50", 1e3 * quantile(bench.seconds, 0.5), "ms", limit);
  bench::report(name + ".p99", 1e3 * quantile(bench.seconds, 0.99), "ms");
  const auto stage = [&](const char* what, double seconds) {
    bench::report(name + "." + what, 1e6 * seconds / kRequests, "us");
  };
  stage("scan", cost.scan_seconds);
  stage("groups", cost.walk_seconds);
  stage("lists", cost.list_seconds);
  stage("rescore", cost.score_seconds);
  bench::report(name + ".open_after_lists",
                100 * static_cast<double>(cost.open_after_lists) / (2.0 * kRequests * kCandidates),
                "%");
  bench::report(name + ".rescored", static_cast<double>(cost.rescored) / kRequests, "examples");
  compare(name, bench);
  bench::report(name + ".memory", bench::peak_memory_mib(), "MiB");
}

void bench_search(const std::string& name, const ToyOptions& options, const std::string& limit) {
  if (!bench::wanted(name)) return;
  const TemporaryDirectory directory;
  const auto file = directory.path() / "toy.bundle";
  set_thread_count(2);
  bench::report(name + ".publish", bench::seconds([&] { write_toy_bundle(options, file); }), "s");
  set_thread_count(1);
  bench_bundle(name, file, limit);
}

void run() {
  if (const char* file = std::getenv("LLMCF_BUNDLE"); file != nullptr) {
    set_thread_count(1);
    bench_bundle("serve.search.bundle", file, "");
    return;
  }
  ToyOptions options = bench::beauty_shape();
  options.users = 5000;
  options.examples = 25'000;
  options.text_width = options.log_width = 128;
  bench_search("serve.search.25k", options, "2");
  options.users = 100'000;
  options.items = 30'000;
  options.examples = 1'000'000;
  options.scan = ScanOptions::suited_to(options.examples);
  bench_search("serve.search.1m", options, "10");
}

}  // namespace
}  // namespace llmcf::serve

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::serve::run();
  return 0;
}
