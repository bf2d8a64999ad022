// Training speed of every sequence backbone, plain, on a sample shop of Amazon Beauty's size:
// softmax over the whole catalogue, batches of 256 sequences, one thread. A row is a target.
//
//   sequence.<backbone>         rows/s   step alone (forward, backward, update); limit: the loss's
//                                        three matrix products at the speed of a large one
//   sequence.<backbone>.batch   rows/s   the builder alone, on the thread that runs ahead of the
//                                        step; SR-GNN's includes the graphs
#include <memory>
#include <numeric>

#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>

#include <fmt/format.h>

#include "bench/bench.h"
#include "core/files.h"
#include "core/threads.h"
#include "data/import.h"
#include "data/rows.h"
#include "data/sample.h"
#include "models/trainable_sequence.h"
#include "nn/runtime.h"
#include "train/sequence_builder.h"

namespace {

using namespace llmcf;

constexpr int64_t kBatch = 256;
constexpr int64_t kSteps = 30;

double matrix_product_flops() {
  constexpr int64_t kSize = 1024;
  const torch::Tensor a = at::rand({kSize, kSize}), b = at::rand({kSize, kSize});
  at::mm(a, b);
  return 2.0 * kSize * kSize * kSize / bench::median_seconds(5, [&] { at::mm(a, b); });
}

void bench_backbone(const std::string& backbone, const train::FeatureInputs& inputs) {
  const std::string name = "sequence." + backbone;
  if (!bench::wanted(name) && !bench::wanted(name + ".batch")) return;
  const models::ModelOptions options =
      models::ModelOptions::from(Config::parse("backbone: " + backbone), "strict");
  const train::SequenceStore store(train::inputs_for(options, inputs), {});
  const train::SequenceUnits units = options.sequence.every_position
                                         ? store.window_units(data::Split::kTrain)
                                         : store.row_units(data::Split::kTrain);
  train::SequenceBuilder builder(store, options);
  models::TrainableSequence model(store.data(), options, {.learning_rate = 1e-3}, {}, 2023);
  const nn::DenormalsAreZero denormals;
  models::SequenceBatch batch;
  std::vector<int64_t> chosen(kBatch);
  double building = 0, stepping = 0, rows = 0;
  for (int64_t step = -3; step < kSteps; ++step) {  // three to warm up
    std::iota(chosen.begin(), chosen.end(), (step + 3) * kBatch);
    const train::NegativeDraw draw{.seed = 1, .epoch = 1, .batch = step};
    const double built =
        bench::seconds([&] { builder.build(data::Split::kTrain, units, chosen, &draw, batch); });
    const double stepped = bench::seconds([&] { model.train_step(batch); });
    if (step < 0) continue;
    building += built;
    stepping += stepped;
    rows += static_cast<double>(batch.common.queries);
  }
  const double loss_flops =
      6.0 * static_cast<double>(store.data().items) * static_cast<double>(options.embed_dim);
  bench::report(name, rows / stepping, "rows/s",
                fmt::format("{:.6g}", matrix_product_flops() / loss_flops));
  bench::report(name + ".batch", rows / building, "rows/s");
  std::fprintf(
      stderr, "%s: a batch takes %.2f ms to build and %.1f ms to train on, peak %.0f MiB\n",
      name.c_str(), 1e3 * building / kSteps, 1e3 * stepping / kSteps, bench::peak_memory_mib());
}

}  // namespace

int main(int argc, char** argv) {
  nn::limit_spinning(argv);
  bench::init(argc, argv);
  set_thread_count(1);
  nn::set_threads(1);
  const TemporaryDirectory directory;
  data::write_sample({.users = 22363, .items = 12101, .events_per_user = 8.9},
                     directory.path() / "shop");
  data::ImportOptions import;
  import.path = directory.path() / "shop";
  import.schema_file = directory.path() / "shop" / "schema.yaml";
  data::import_dataset(import, directory.path() / "dataset.safetensors");
  const data::Dataset dataset(directory.path() / "dataset.safetensors");
  data::write_rows(dataset, {}, directory.path() / "rows.safetensors");
  const data::RowSet rows(directory.path() / "rows.safetensors");
  train::FeatureInputs inputs;
  inputs.dataset = &dataset;
  inputs.rows = &rows;
  for (const std::string& backbone : models::sequence_backbone_names())
    bench_backbone(backbone, inputs);
  return 0;
}
