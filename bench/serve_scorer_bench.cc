// What a request for 1,000 candidates costs, stage by stage, on one core: a made-up bundle of
// Beauty's shape (22,363 users, 12,101 items, 26,304 examples, 64 + 64-d retrieval vectors, DeepFM
// + LLM-CF), or a published one named by LLMCF_BUNDLE. serve_search_bench.cc measures the search
// over other pools.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "bench/beauty_shape.h"
#include "bench/bench.h"
#include "core/files.h"
#include "core/random.h"
#include "core/threads.h"
#include "serve/kernels.h"
#include "serve/scorer/scorer.h"

namespace llmcf::serve {
namespace {

constexpr int64_t kCandidates = 1000;
constexpr int kRequests = 200;

double milliseconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return 1e3 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(share * static_cast<double>(values.size())))];
}

std::vector<int32_t> random_items(const BundleSpec& spec, Random& random) {
  std::vector<int32_t> items;
  for (int64_t i = 0; i < kCandidates; ++i)
    items.push_back(static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(spec.items))));
  return items;
}

// Multiply-adds of one candidate, from the widths of the layers that run per candidate.
double flops_per_candidate(const Bundle& bundle) {
  double products = 0;
  const auto dense = [&](const std::string& name, int64_t from = 0) {
    if (!bundle.has_weight(name)) return;
    const auto& shape = bundle.weight_shape(name);
    products += static_cast<double>(shape[0]) * static_cast<double>(shape[1] - from);
  };
  const std::string token = "context.ict.token_map.linear";
  dense("backbone.tower.linear0.weight",
        static_cast<int64_t>(bundle.spec().fields.size()) * bundle.spec().embed_dim);
  for (int layer = 1; layer < 4; ++layer) {
    dense("backbone.tower.linear" + std::to_string(layer) + ".weight");
    dense(token + std::to_string(layer) + ".weight");
  }
  const auto slots = static_cast<double>(bundle.spec().retrieval.k);
  for (int layer = 0; bundle.has_weight("context.ict.layer" + std::to_string(layer) + ".wq.weight");
       ++layer) {
    const std::string name = "context.ict.layer" + std::to_string(layer);
    const double before = products;
    for (const char* part : {".wq", ".wk", ".wv"})
      dense(name + part + ".weight");
    products += slots * (products - before);  // of every slot (queries of the last layer too)
    for (const char* part : {".wo", ".w1", ".w2", ".w3"})
      dense(name + part + ".weight");
  }
  if (bundle.spec().context.evidence)
    products += slots * static_cast<double>(bundle.spec().slot_features()) *
                static_cast<double>(bundle.weight_shape("context.ict.label")[1]);
  return 2 * products;
}

void bench_requests(const std::string& name, const std::filesystem::path& file,
                    const std::string& limit) {
  const double opening = milliseconds([&] { const Bundle warm(file); });
  bench::report(name + ".open", opening, "ms", "1000");
  const auto bundle = std::make_shared<const Bundle>(file);
  const Catalogue catalogue(bundle);
  const ExampleSearch search(*bundle);
  const Scorer scorer(bundle);
  const BundleSpec& spec = bundle->spec();
  Random random(1, "bench.serve");
  ScratchArena arena;
  std::vector<double> all, retrieval, scoring;
  SearchCost search_cost;
  ScoreCost score_cost;
  std::vector<float> logits(kCandidates), vector(static_cast<size_t>(spec.retrieval_width));
  for (int request = -20; request < kRequests; ++request) {
    const auto user = static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(spec.users)));
    const auto candidates = random_items(spec, random);
    const auto history = bundle->history(user);
    arena.reset();
    if (request == 0) search_cost = {}, score_cost = {};
    Slots slots = Slots::make(kCandidates, spec.retrieval.k, arena);
    const double found = milliseconds([&] {
      search.history_vector(catalogue, search.fold_of(user), history, vector.data());
      search.search(catalogue, search.fold_of(user), vector.data(), candidates, arena, slots,
                    &search_cost);
    });
    const double scored = milliseconds([&] {
      scorer.score({.catalogue = catalogue,
                    .sample = {.user = user,
                               .history = history.last(std::min(
                                   history.size(), static_cast<size_t>(spec.history_length))),
                               .context = {}},
                    .candidates = candidates,
                    .slots = &slots,
                    .time = 1'700'000'000},
                   arena, logits, &score_cost);
    });
    if (request < 0) continue;
    retrieval.push_back(found);
    scoring.push_back(scored);
    all.push_back(found + scored);
  }
  const double n = kRequests;
  const auto stage = [&](const char* what, double seconds) {
    bench::report(name + "." + what, 1e6 * seconds / n, "us");
  };
  bench::report(name + ".request.p50", quantile(all, 0.5), "ms", limit);
  bench::report(name + ".request.p99", quantile(all, 0.99), "ms");
  bench::report(name + ".retrieval.p50", quantile(retrieval, 0.5), "ms", "2");
  bench::report(name + ".scoring.p50", quantile(scoring, 0.5), "ms");
  stage("retrieval.scan", search_cost.scan_seconds);
  stage("retrieval.lists", search_cost.list_seconds);
  stage("retrieval.groups", search_cost.walk_seconds);
  stage("retrieval.rescore", search_cost.score_seconds);
  stage("scoring.request", score_cost.request_seconds);
  stage("scoring.evidence", score_cost.evidence_seconds);
  stage("scoring.context", score_cost.context_seconds);
  stage("scoring.backbone", score_cost.backbone_seconds);
  bench::report(name + ".retrieval.open_after_lists",
                100 * static_cast<double>(search_cost.open_after_lists) / (2 * n * kCandidates),
                "%");
  bench::report(name + ".retrieval.products",
                static_cast<double>(search_cost.products) / (n * kCandidates), "per candidate");
  bench::report(name + ".distinct_examples",
                100 * static_cast<double>(score_cost.distinct_examples) / (n * kCandidates), "%");
  bench::report(name + ".scoring.rate",
                1e-6 * kCandidates * flops_per_candidate(*bundle) / quantile(scoring, 0.5),
                "GFLOP/s");
}

void run() {
  set_thread_count(1);
  const TemporaryDirectory directory;
  if (const char* published = std::getenv("LLMCF_BUNDLE"); published != nullptr) {
    bench_requests("serve.published", published, "8");
    return;
  }
  set_thread_count(2);
  const auto beauty = directory.path() / "beauty.bundle";
  ToyOptions options = bench::beauty_shape();
  options.text_width = options.log_width = 64;
  options.embed_dim = options.token = 32;
  options.tower[0] = 200;
  options.tower[1] = 80;
  options.text_hidden = 256;
  options.token_hidden = 128;
  write_toy_bundle(options, beauty);
  set_thread_count(1);
  bench_requests("serve.beauty", beauty, "8");
}

}  // namespace
}  // namespace llmcf::serve

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::serve::run();
  return 0;
}
