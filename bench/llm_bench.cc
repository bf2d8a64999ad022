// Tokens per second of a language model with random weights: reading a prompt, generating for 1, 16
// and 64 prompts at once, tuning whole and by LoRA. 19.5 million parameters, fp32.
//
// Limits: reading and tuning, 2 and 6 operations per parameter and token (the embedding looked up,
// not multiplied; 4 by LoRA, which leaves out the weights' own gradients) at the speed of a large
// matrix product; generating, the slower of that and one pass over all weights per step at the
// speed at which a sum reads memory.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>

#include <fmt/format.h>

#include "bench/bench.h"
#include "core/random.h"
#include "core/threads.h"
#include "llm/generator.h"
#include "llm/tuner.h"

namespace llmcf {
namespace {

constexpr int64_t kPrompt = 128, kAnswer = 64, kRow = 256;

llm::ModelConfig shape() {
  llm::ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.hidden = 512;
  config.intermediate = 1376;
  config.layers = 6;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_width = 64;
  config.vocabulary = 4096;
  config.max_positions = 512;
  config.tied = true;
  return config;
}

// No text is made: ids that have no bytes.
class NoText final : public text::LanguageTokenizer {
 public:
  std::vector<int32_t> encode(std::string_view) const override { return {}; }
  std::string bytes(int32_t) const override { return ""; }
  std::optional<int32_t> special(std::string_view) const override { return std::nullopt; }
  int64_t size() const override { return shape().vocabulary; }
};

double product_peak() {
  const torch::Tensor a = at::rand({3072, 3072}), b = at::rand({3072, 3072});
  return 2.0 * 3072 * 3072 * 3072 / bench::median_seconds(3, [&] { at::matmul(a, b); });
}

double bytes_per_second() {
  const torch::Tensor values = at::rand({int64_t{64} << 20});  // 256 MiB, beyond any cache
  return static_cast<double>(values.nbytes()) / bench::median_seconds(5, [&] { values.sum(); });
}

void bench_reading(const llm::LanguageModel& model, double peak) {
  const torch::NoGradGuard no_gradients;
  const torch::Tensor ids = (at::rand({8, kPrompt}) * 4000).to(torch::kLong);
  const double taken = bench::median_seconds(3, [&] { model.hidden({ids, {}, {}}); });
  const double flops = 2.0 * static_cast<double>(model.config().parameters() -
                                                 model.config().vocabulary * model.config().hidden);
  bench::report("llm.read", 8 * kPrompt / taken, "tokens/s", fmt::format("{:.0f}", peak / flops));
}

void bench_generating(const llm::LanguageModel& model, int64_t slots, double peak,
                      double bandwidth) {
  const std::string name = fmt::format("llm.generate.batch{}", slots);
  if (!bench::wanted(name)) return;
  const NoText tokenizer;
  llm::Generator generator(model, tokenizer, {.slots = slots, .capacity = kPrompt + kAnswer + 1});
  Random random(1, name);
  std::vector<llm::GenerationRequest> requests;
  for (int64_t i = 0; i < slots; ++i) {
    llm::GenerationRequest request{.prompt = std::vector<int32_t>(kPrompt),
                                   .sampling = {.temperature = 0.6, .top_k = 50},
                                   .max_tokens = kAnswer,
                                   .stop = {}};
    for (int32_t& id : request.prompt)
      id = static_cast<int32_t>(random.below(4000));
    request.sample = i;
    requests.push_back(std::move(request));
  }
  for (auto& request : requests)
    generator.submit(std::move(request), {});
  generator.step();  // prompts are read, each has its first two tokens
  const double taken = bench::seconds([&] {
    while (generator.step()) {
    }
  });
  const auto parameters = static_cast<double>(model.config().parameters());
  const double step =
      std::max(2 * parameters * static_cast<double>(slots) / peak, 4 * parameters / bandwidth);
  bench::report(name, static_cast<double>(slots * (kAnswer - 2)) / taken, "tokens/s",
                fmt::format("{:.0f}", static_cast<double>(slots) / step));
}

void bench_tuning(const std::string& name, llm::TuneOptions options, double per_parameter,
                  double peak) {
  if (!bench::wanted(name)) return;
  llm::LanguageModel model(shape(), torch::kFloat, torch::kCPU);
  model.initialise(1);
  Random random(2, "rows");
  llm::TokenizedText text;
  for (int64_t i = 0; i < kRow; ++i) {
    text.ids.push_back(static_cast<int32_t>(random.below(4000)));
    text.learned.push_back(1);
  }
  constexpr int64_t kRows = 4;
  const llm::PackedRows rows = llm::pack(std::vector(kRows, text), kRow);
  options.epochs = 4;
  options.rows_per_step = options.rows_at_once = kRows;
  std::vector<double> rates;
  llm::tune(model, rows, options, {}, "",
            [&](const llm::TuneStep& step) { rates.push_back(step.tokens_per_second); });
  std::nth_element(rates.begin(), rates.begin() + 2, rates.end());
  bench::report(
      name, rates[2], "tokens/s",
      fmt::format("{:.0f}", peak / (per_parameter * static_cast<double>(shape().parameters()))));
}

void run() {
  at::set_num_threads(thread_count());
  if (!bench::wanted("llm")) return;
  const double peak = product_peak(), bandwidth = bytes_per_second();
  std::fprintf(stderr, "llm: %.1f million parameters, %d threads, %.0f GFLOP/s, %.1f GB/s\n",
               static_cast<double>(shape().parameters()) / 1e6, thread_count(), peak / 1e9,
               bandwidth / 1e9);
  {
    llm::LanguageModel model(shape(), torch::kFloat, torch::kCPU);
    model.initialise(1);
    if (bench::wanted("llm.read")) bench_reading(model, peak);
    for (const int64_t slots : {1, 16, 64})
      bench_generating(model, slots, peak, bandwidth);
  }
  llm::TuneOptions recomputed, lora;
  recomputed.recompute = true;
  lora.lora.rank = 8;
  bench_tuning("llm.tune.whole", {}, 6, peak);
  bench_tuning("llm.tune.recompute", recomputed, 8, peak);
  bench_tuning("llm.tune.lora", lora, 4, peak);
  bench::report("llm.memory", bench::peak_memory_mib(), "MiB");
}

}  // namespace
}  // namespace llmcf

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  llmcf::run();
}
