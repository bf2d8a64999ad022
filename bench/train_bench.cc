// Training speed of every backbone, plain and with LLM-CF, on Amazon Beauty where LLMCF_SHARED (or
// ../shared) holds it, else on a sample shop of its size. A step is everything: building the batch,
// forward, backward, update. Threads are those the trainer would take.
//
//   train.batch.none                  rows/s   the batch builder alone, batch 128, one thread
//   train.batch.ict                   rows/s   the same with 4 examples per row and 768-d texts
//   train.<backbone>.none             rows/s   batch 128; limit: its matrix products at the speed
//                                              of a large one on the same threads
//   train.<backbone>.ict              rows/s   4 examples per row, 768-d texts, reconstruction loss
//   train.<backbone>.<context>.b1024  rows/s   the same at batch 1024
//   <any of the last three>.gflops    GFLOP/s  of matrix products (train_flops.h); limit: the speed
//                                              of a large one
//
// Texts and chains of thought are random unit vectors and examples are assigned at random, which
// leaves the least to share within a batch.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>

#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/train_flops.h"
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
constexpr int64_t kLargeBatch = 1024;

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

// Of a large single-precision matrix product on the threads in use.
double matrix_product_flops() {
  const auto a = at::rand({1024, 1024}), b = at::rand({1024, 1024});
  const double seconds = bench::median_seconds(5, [&] { at::mm(a, b); });
  return 2.0 * 1024 * 1024 * 1024 / seconds;
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

// Batches of one epoch after the other.
class Epochs {
 public:
  Epochs(const train::FeatureStore& store, int64_t batch_size)
      : store_(store), batch_size_(batch_size) {}

  const models::Batch& next() {
    const models::Batch* batch = loader_ ? loader_->next() : nullptr;
    if (batch != nullptr && batch->queries == batch_size_) return *batch;
    const int64_t rows = store_.rows(data::Split::kTrain).size();
    loader_ = std::make_unique<train::BatchLoader>(
        store_, data::Split::kTrain, train::epoch_order(rows, 1, ++epoch_),
        train::LoadOptions{.batch_size = batch_size_, .depth = 3});
    return *loader_->next();
  }

 private:
  const train::FeatureStore& store_;
  int64_t batch_size_, epoch_ = 0;
  std::unique_ptr<train::BatchLoader> loader_;
};

// One row of the table: a backbone with a context (none or ict, the published module) at one batch
// size.
void bench_training(const std::string& backbone, const std::string& context, int64_t batch_size,
                    const train::FeatureInputs& all, std::span<const float> cot) {
  const std::string name = fmt::format("train.{}.{}{}", backbone, context,
                                       batch_size == kBatch ? "" : fmt::format(".b{}", batch_size));
  if (!bench::wanted(name) && !bench::wanted(name + ".gflops")) return;
  const models::ModelOptions options = models::ModelOptions::from(
      Config::parse(fmt::format("{{backbone: {}, context: {}, ict: {{module: published}}}}",
                                backbone, context)),
      "strict");
  const train::FeatureStore store(train::inputs_for(options, all), {});
  train::TrainOptions train_options;
  train_options.batch_size = batch_size;
  nn::set_threads(train::training_threads(options, train_options));
  const nn::DenormalsAreZero denormals;  // as the trainer does
  models::TrainableCtr model(store.spec(), options, {},
                             {.item_text = store.inputs().item_text, .cot = cot}, 2023);
  Epochs epochs(store, batch_size);
  double flops = 0, rows = 0;
  // Until that many rows or seconds.
  const auto run = [&](double enough, double longest) {
    double spent = 0;
    for (flops = rows = 0; rows < enough && spent < longest;) {
      spent += bench::seconds([&] {
        const models::Batch& batch = epochs.next();
        model.train_step(batch);
        rows += static_cast<double>(batch.queries);
        flops += bench::step_flops(backbone, batch, store.spec().num_fields(), kTextDim);
      });
    }
    return spent;
  };
  run(40'000, 1.5);
  const double speed = matrix_product_flops();
  const std::clock_t before = std::clock();
  const double seconds = run(200'000, 4.0);
  const double worked = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  bench::report(name, rows / seconds, "rows/s", fmt::format("{:.6g}", speed * rows / flops));
  bench::report(name + ".gflops", flops / seconds / 1e9, "GFLOP/s",
                fmt::format("{:.6g}", speed / 1e9));
  std::fprintf(stderr,
               "%s: %.3g MFLOP per row, %d threads, %.0f rows per second of processor time, peak "
               "%.0f MiB so far\n",
               name.c_str(), flops / rows / 1e6, nn::runtime_info().threads, rows / worked,
               bench::peak_memory_mib());
}

bool wants_any(const std::string& context) {
  if (bench::wanted("train.batch." + context)) return true;
  for (const std::string& backbone : models::backbone_names())
    if (bench::wanted(fmt::format("train.{}.{}", backbone, context))) return true;
  return false;
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
  bench_batches("train.batch.none", train::FeatureStore(inputs, {}));
  const auto bench_context = [&](const std::string& context, std::span<const float> cot) {
    for (const std::string& backbone : models::backbone_names())
      for (const int64_t batch_size : {kBatch, kLargeBatch})
        bench_training(backbone, context, batch_size, inputs, cot);
  };
  bench_context("none", {});
  if (!wants_any("ict")) return 0;
  const Knowledge knowledge(dataset, rows);
  knowledge.add_to(inputs);
  bench_batches("train.batch.ict", train::FeatureStore(inputs, {}));
  bench_context("ict", knowledge.cot);
  return 0;
}
