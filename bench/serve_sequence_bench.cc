// What a recommendation costs that a sequence model lists, on one core: the state of a history of
// 50 items (SASRec, two blocks of 64), with and without examples, and the best 1,000 of 12,101 and
// of 1,000,000 items, by an exact scan and by an approximate index. The bundles are made up.
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "bench/bench.h"
#include "core/files.h"
#include "core/random.h"
#include "core/threads.h"
#include "serve/first_stage.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

constexpr int64_t kWidth = 64;
constexpr int64_t kHistory = 50;
constexpr int64_t kListed = 1000;
constexpr int kRuns = 50;

ToyOptions toy(int64_t items, const char* context) {
  return {.items = items,
          .examples = 26304,
          .clusters = 300,
          .text_width = 64,
          .log_width = 64,
          .folds = 1,
          .neighbours = 1,
          .embed_dim = kWidth,
          .text_hidden = 64,
          .token_hidden = 64,
          .context = context,
          .backbone = "sasrec",
          .history_length = kHistory};
}

std::string microseconds(double flops, double per_second) {
  return fmt::format("{:.3g}", 1e6 * flops / per_second);
}

// Of the machine, in multiply-adds of dense rows that stay in the cache.
double multiply_adds_per_second() {
  const std::vector<float> source(kWidth * kWidth, 0.5F), x(kHistory * kWidth, 0.5F);
  const kernels::PackedWeights weights(source.data(), kWidth, kWidth);
  std::vector<float> y(kHistory * kWidth);
  const double seconds = bench::median_seconds(20, [&] {
    for (int i = 0; i < 50; ++i)
      kernels::dense(weights, {.count = kHistory,
                               .x = x.data(),
                               .x_stride = kWidth,
                               .y = y.data(),
                               .y_stride = kWidth});
  });
  return 50.0 * kHistory * kWidth * kWidth / seconds;
}

void bench_state(const std::filesystem::path& file, const std::string& name) {
  const Deployment deployment(file);
  const auto catalogue = deployment.catalogue();
  KnownHistory history;
  Random random(1, "bench.history");
  for (int64_t i = 0; i < kHistory; ++i)
    history.rows.push_back(
        static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(deployment.spec().items))));
  ScratchArena arena;
  const double seconds = bench::median_seconds(kRuns, [&] {
    arena.reset();
    state_of(deployment, *catalogue, history, 1'700'000'000, arena);
  });
  // A block: six products per token, in the last one of the last token alone but keys and values.
  const double products = (6 * kHistory + 2 * kHistory + 4) * kWidth * kWidth;
  bench::report(name, 1e6 * seconds, "us", microseconds(products, multiply_adds_per_second()));
}

void bench_list(const Deployment& deployment, const std::string& name, const std::string& limit) {
  const auto items = static_cast<size_t>(deployment.spec().items);
  const std::vector<char> hidden(items + 1, 0);
  Random random(2, "bench.state");
  std::vector<float> state(kWidth);
  ScratchArena arena;
  const double seconds = bench::median_seconds(kRuns, [&] {
    for (float& value : state)
      value = static_cast<float>(random.normal());
    arena.reset();
    deployment.list()->best(state.data(), kListed, hidden, arena);
  });
  bench::report(name, 1e6 * seconds, "us", limit);
}

// What reading the vectors once takes.
std::string reading(const Deployment& deployment) {
  const auto panels = deployment.bundle().reader().get<float>("items.panels");
  volatile float kept = 0;
  const double seconds = bench::median_seconds(5, [&] {
    float sums[16] = {};
    for (size_t i = 0; i + 16 <= panels.size(); i += 16)
      for (size_t lane = 0; lane < 16; ++lane)
        sums[lane] += panels[i + lane];
    kept = std::accumulate(sums, sums + 16, 0.0F);
  });
  (void)kept;
  return fmt::format("{:.3g}", 1e6 * seconds);
}

void run() {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "toy.bundle";
  for (const char* context : {"none", "ict"}) {
    set_thread_count(2);
    write_toy_bundle(toy(12101, context), file);
    set_thread_count(1);
    bench_state(file, fmt::format("serve.sequence.state.{}", context));
  }
  for (const auto& [items, name] :
       {std::pair<int64_t, std::string>{12101, "12k"}, {1'000'000, "1M"}}) {
    if (!bench::wanted("serve.sequence.best_1000." + name)) continue;
    set_thread_count(2);
    write_toy_bundle(toy(items, "none"), file);
    set_thread_count(1);
    {
      const Deployment exact(file);
      bench_list(exact, "serve.sequence.best_1000." + name, reading(exact));
    }
    set_thread_count(2);
    std::unique_ptr<Deployment> approximate;
    const double building = bench::seconds([&] {
      approximate =
          std::make_unique<Deployment>(file, ItemListOptions{.approximate = true, .probes = 0});
    });
    set_thread_count(1);
    bench::report("serve.sequence.best_1000." + name + ".approximate.open", building, "s");
    bench_list(*approximate, "serve.sequence.best_1000." + name + ".approximate", "");
  }
}

}  // namespace
}  // namespace llmcf::serve

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::serve::run();
  return 0;
}
