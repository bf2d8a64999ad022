// Training speed of DeepFM, batch 128, on Amazon Beauty where LLMCF_SHARED (or ../shared) holds it,
// else on a sample shop of its size. A step is everything: building the batch, forward, backward,
// update.
//
//   train.batch.none               rows/s  the batch builder alone, one thread
//   train.batch.ict                rows/s  the same with 4 examples per row and 768-d texts
//   train.deepfm.none              rows/s  limit: its matrix products at the speed of a large one
//   train.deepfm.ict               rows/s  4 examples per row, 768-d texts, reconstruction loss
//   train.deepfm.none.peak_memory  MiB     of this process
//   train.deepfm.ict.peak_memory   MiB     the same (holds what `none` took, if both run)
//
// Texts and chains of thought are random unit vectors and examples are assigned at random, which
// leaves the least to share within a batch.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "core/files.h"
#include "core/random.h"
#include "core/threads.h"
#include "data/import.h"
#include "data/rows.h"
#include "data/sample.h"
#include "models/trainable_ctr.h"
#include "nn/runtime.h"
#include "train/batch_builder.h"
#include "train/batch_loader.h"
#include "train/trainer.h"

namespace {

using namespace llmcf;

constexpr int64_t kTextDim = 768;
constexpr int64_t kSlots = 4;
constexpr int64_t kBatch = 128;

std::filesystem::path beauty_directory() {
  const char* named = std::getenv("LLMCF_SHARED");
  return std::filesystem::path(named != nullptr ? named : "../shared") / "data" / "amazon-beauty";
}

void prepare_files(const std::filesystem::path& directory) {
  data::ImportOptions options;
  if (std::filesystem::exists(beauty_directory())) {
    options.format = "tsv";
    options.path = beauty_directory();
  } else {
    std::fprintf(stderr, "train: no Amazon Beauty found, using a sample shop of its size\n");
    data::write_sample({.users = 22363, .items = 12101, .events_per_user = 8.9},
                       directory / "shop");
    options.path = directory / "shop";
    options.schema_file = directory / "shop" / "schema.yaml";
  }
  data::import_dataset(options, directory / "dataset.safetensors");
  const data::Dataset dataset(directory / "dataset.safetensors");
  data::write_rows(dataset, {}, directory / "rows.safetensors");
}

// In a process of its own, so that its memory does not count.
void prepare(const std::filesystem::path& directory) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 0;
    try {
      prepare_files(directory);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "train: %s\n", error.what());
      code = 1;
    }
    ::_exit(code);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) std::exit(1);
}

std::vector<float> unit_vectors(int64_t count, bool zero_first, std::string_view stream) {
  Random random(1, stream);
  std::vector<float> values(static_cast<size_t>(count * kTextDim));
  for (float& value : values)
    value = static_cast<float>(random.uniform(-1, 1) * std::sqrt(3.0 / kTextDim));
  if (zero_first) std::fill_n(values.begin(), kTextDim, 0.0F);
  return values;
}

// Every tenth training row is an example; every row gets kSlots of them at random.
struct Knowledge {
  explicit Knowledge(const data::Dataset& dataset, const data::RowSet& rows) {
    Random random(1, "examples");
    const data::Rows& train = rows.train();
    for (size_t row = 0; row < train.user.size(); row += 10) {
      user.push_back(train.user[row]);
      item.push_back(train.item[row]);
      position.push_back(train.position[row]);
      label.push_back(train.label[row]);
    }
    for (size_t split = 0; split < 3; ++split) {
      slots[split].resize(
          static_cast<size_t>(rows.rows(static_cast<data::Split>(split)).size() * kSlots));
      for (int32_t& slot : slots[split])
        slot = static_cast<int32_t>(random.below(user.size()));
    }
    item_text = unit_vectors(dataset.num_items() + 1, true, "texts");
    cot = unit_vectors(static_cast<int64_t>(user.size()), false, "cot");
  }

  void add_to(train::FeatureInputs& inputs) const {
    inputs.item_text = item_text;
    inputs.text_dim = kTextDim;
    inputs.examples = {
        .user = user, .item = item, .position = position, .label = label, .event = {}};
    inputs.k = kSlots;
    for (size_t split = 0; split < 3; ++split)
      inputs.slots[split] = {.ids = slots[split], .similarity = {}};
  }

  std::vector<int32_t> user, item, position, slots[3];
  std::vector<float> label, item_text, cot;
};

// Of a large single-precision matrix product on all threads.
double matrix_product_flops() {
  nn::set_threads(thread_count());
  const auto a = at::rand({1536, 1536}), b = at::rand({1536, 1536});
  const double seconds = bench::median_seconds(5, [&] { at::mm(a, b); });
  return 2.0 * 1536 * 1536 * 1536 / seconds;
}

// Multiply-adds of a chain of linear layers.
double chain(std::initializer_list<int64_t> widths) {
  double sum = 0;
  for (const int64_t* at = widths.begin() + 1; at != widths.end(); ++at)
    sum += static_cast<double>(at[-1] * at[0]);
  return sum;
}

// Arithmetic of one training step on `batch`: 2 per multiply-add forward, 4 backward, but no
// gradient goes to frozen inputs.
double step_flops(const models::Batch& batch, int64_t fields) {
  const auto queries = static_cast<double>(batch.queries);
  const int64_t input = fields * 32 + (batch.slots > 0 ? 32 : 0);
  double flops = 6 * queries * chain({input, 200, 80, 1});
  if (batch.slots == 0) return flops;
  const auto samples = static_cast<double>(batch.samples);
  const auto examples = static_cast<double>(batch.example_ids.size());
  const double mapped = static_cast<double>(batch.text_items.size()) + samples + examples;
  flops += mapped * (4 * chain({kTextDim, 256}) + 6 * chain({256, 32}));
  flops += samples * 6 * chain({(fields + 2) * 32, 128, 32});
  const double tokens = 3 * kSlots + 1;
  const double layer =
      tokens * (4 * 32 * 32 + 3 * 32 * 64) + tokens * tokens * 32;  // half of the mask is free
  flops += queries * 6 * 2 * layer;
  return flops + queries * kSlots * 6 * chain({32, 256, kTextDim});
}

void bench_batches(const std::string& name, const train::FeatureStore& store) {
  if (!bench::wanted(name)) return;
  train::BatchBuilder builder(store);
  models::Batch batch;
  const std::vector<int64_t> order =
      train::epoch_order(store.rows(data::Split::kTrain).size(), 1, 1);
  constexpr int64_t kBatches = 300;
  const double seconds = bench::median_seconds(3, [&] {
    for (int64_t index = 0; index < kBatches; ++index)
      builder.build(data::Split::kTrain,
                    std::span(order).subspan(static_cast<size_t>(index * kBatch), kBatch), batch);
  });
  bench::report(name, static_cast<double>(kBatches * kBatch) / seconds, "rows/s");
}

void bench_training(const std::string& name, const train::FeatureStore& store,
                    std::span<const float> cot = {}) {
  if (!bench::wanted(name)) return;
  const bool ict = !cot.empty();
  const models::ModelOptions options = models::ModelOptions::from(
      Config::parse(ict ? "{backbone: deepfm, context: ict}" : "{backbone: deepfm}"), "strict");
  nn::set_threads(train::training_threads(options, {}));
  models::TrainableCtr model(store.spec(), options, {},
                             {.item_text = store.inputs().item_text, .cot = cot}, 2023);
  train::BatchLoader loader(store, data::Split::kTrain,
                            train::epoch_order(store.rows(data::Split::kTrain).size(), 1, 1),
                            {.batch_size = kBatch, .depth = 3});
  const int64_t warm_up = ict ? 20 : 300, steps = ict ? 150 : 1500;
  double flops = 0;
  const auto run = [&](int64_t count) {
    for (int64_t step = 0; step < count; ++step) {
      const models::Batch* batch = loader.next();
      model.train_step(*batch);
      flops += step_flops(*batch, store.spec().num_fields());
    }
  };
  run(warm_up);
  flops = 0;
  const double seconds = bench::seconds([&] { run(steps); });
  const auto rows = static_cast<double>(steps * kBatch);
  const int threads = nn::runtime_info().threads;
  bench::report(name, rows / seconds, "rows/s",
                fmt::format("{:.6g}", matrix_product_flops() / (flops / rows)));
  bench::report(name + ".peak_memory", bench::peak_memory_mib(), "MiB");
  std::fprintf(stderr, "%s: %.3g MFLOP per row, %.3g GFLOP/s, %d threads\n", name.c_str(),
               flops / rows / 1e6, flops / seconds / 1e9, threads);
}

}  // namespace

int main(int argc, char** argv) {
  nn::limit_spinning(argv);
  bench::init(argc, argv);
  const TemporaryDirectory directory;
  prepare(directory.path());
  const data::Dataset dataset(directory.path() / "dataset.safetensors");
  const data::RowSet rows(directory.path() / "rows.safetensors");
  train::FeatureInputs inputs;
  inputs.dataset = &dataset;
  inputs.rows = &rows;
  {
    const train::FeatureStore store(inputs, {});
    bench_batches("train.batch.none", store);
    bench_training("train.deepfm.none", store);
  }
  if (!bench::wanted("train.batch.ict") && !bench::wanted("train.deepfm.ict")) return 0;
  const Knowledge knowledge(dataset, rows);
  knowledge.add_to(inputs);
  const train::FeatureStore store(inputs, {});
  bench_batches("train.batch.ict", store);
  bench_training("train.deepfm.ict", store, knowledge.cot);
  return 0;
}
