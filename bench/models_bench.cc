// Speed of a training step on ready-made batches: forward, backward and the dense-equivalent Adam,
// without building the batch. Tables of Amazon Beauty's size (22,363 users, 12,101 items, 2,077
// brands, 249 categories, width 32), histories of up to 20 items, batch 128.
//
//   models.step.deepfm.none     rows/s  DeepFM
//   models.step.deepfm.ict      rows/s  with 4 examples per row of a pool of 26,000, 768-d texts
//   models.predict.deepfm.none  rows/s  evaluation mode, batch 256
//   models.predict.deepfm.ict   rows/s  the same with examples
//
// Item popularity falls like 1 / rank^0.7; examples are drawn uniformly, which leaves the least to
// share within a batch. Rows use 200 batches in turn; 100 steps of warm-up.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "bench/bench.h"
#include "core/random.h"
#include "core/threads.h"
#include "models/trainable_ctr.h"
#include "nn/runtime.h"

namespace {

using namespace llmcf;
using models::Batch;

constexpr int64_t kUsers = 22363, kItems = 12101, kBrands = 2077, kCategories = 249;
constexpr int64_t kPool = 26000, kSlots = 4, kTextDim = 768;

struct Sample {
  int32_t user = 0;
  std::vector<int32_t> items;  // the target, then the history
};

class World {
 public:
  World() : random_(1, "bench") {
    double total = 0;
    for (int64_t rank = 1; rank <= kItems; ++rank)
      popularity_.push_back(total += std::pow(static_cast<double>(rank), -0.7));
    for (int64_t item = 0; item <= kItems; ++item) {
      brand_.push_back(static_cast<int32_t>(random_.below(kBrands) + 1));
      auto& categories = categories_.emplace_back();
      for (uint64_t c = 2 + random_.below(3); c > 0; --c)
        categories.push_back(static_cast<int32_t>(random_.below(kCategories) + 1));
    }
    for (int64_t i = 0; i < kPool; ++i)
      pool_.push_back(sample());
    for (auto* table : {&item_text_, &cot_}) {
      table->resize(static_cast<size_t>((table == &cot_ ? kPool : kItems + 2) * kTextDim));
      for (float& value : *table)
        value = static_cast<float>(random_.uniform(-0.06, 0.06));
    }
  }

  models::FeatureSpec spec(bool text) const {
    using models::FieldRole;
    return {.tables = {{"user_id", kUsers + 2},
                       {"item_id", kItems + 2},
                       {"brand", kBrands + 2},
                       {"category", kCategories + 2}},
            .fields = {{"user_id", 0, FieldRole::kUser, true},
                       {"item_id", 1, FieldRole::kItem, true},
                       {"brand", 2, FieldRole::kItem, true},
                       {"category", 3, FieldRole::kItem, false},
                       {"hist_item_id", 1, FieldRole::kHistory, false},
                       {"hist_brand", 2, FieldRole::kHistory, false},
                       {"hist_category", 3, FieldRole::kHistory, false}},
            .text_dim = text ? kTextDim : 0};
  }

  models::FrozenTables frozen() const { return {.item_text = item_text_, .cot = cot_}; }

  Batch batch(int64_t rows, bool examples) {
    Batch batch;
    batch.queries = rows;
    batch.tables.resize(4);
    batch.fields.resize(7);
    for (models::Bag& bag : batch.fields)
      bag.offsets.push_back(0);
    for (int64_t b = 0; b < rows; ++b) {
      add(batch, sample(), examples);
      batch.labels.push_back(static_cast<float>(b % 2));
    }
    if (examples) add_examples(batch);
    batch.samples = static_cast<int64_t>(batch.fields[0].offsets.size()) - 1;
    for (int table = 0; table < 4; ++table)
      make_slab(batch, table);
    return batch;
  }

 private:
  static constexpr int kTable[7] = {0, 1, 2, 3, 1, 2, 3};

  int32_t item() {
    const double at = random_.uniform() * popularity_.back();
    return static_cast<int32_t>(std::lower_bound(popularity_.begin(), popularity_.end(), at) -
                                popularity_.begin() + 1);
  }

  Sample sample() {
    Sample made{.user = static_cast<int32_t>(random_.below(kUsers) + 1), .items = {item()}};
    for (uint64_t left = 3 + random_.below(18); left > 0; --left)
      made.items.push_back(item());
    return made;
  }

  void add(Batch& batch, const Sample& sample, bool text) {
    const auto push = [&](size_t field, int32_t id) { batch.fields[field].ids.push_back(id); };
    push(0, sample.user);
    for (size_t i = 0; i < sample.items.size(); ++i) {
      const auto item = static_cast<size_t>(sample.items[i]);
      const size_t shift = i == 0 ? 0 : 3;
      push(1 + shift, sample.items[i]);
      push(2 + shift, brand_[item]);
      for (const int32_t category : categories_[item])
        push(3 + shift, category);
    }
    for (models::Bag& bag : batch.fields)
      bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    if (!text) return;
    batch.sample_text.push_back(static_cast<int32_t>(batch.text_items.size()));
    batch.text_items.push_back(sample.items[0]);
    const auto* row = item_text_.data() + sample.items[1] * kTextDim;
    batch.history_text.insert(batch.history_text.end(), row, row + kTextDim);
  }

  void add_examples(Batch& batch) {
    batch.slots = kSlots;
    for (int64_t i = 0; i < batch.queries * kSlots; ++i) {
      const auto id = static_cast<int32_t>(random_.below(kPool));
      batch.slot.push_back(static_cast<int32_t>(batch.example_ids.size()));
      batch.slot_similarity.push_back(0.5F);
      batch.example_ids.push_back(id);
      batch.example_label.push_back(static_cast<int32_t>(i % 2));
      add(batch, pool_[static_cast<size_t>(id)], true);
    }
  }

  static void make_slab(Batch& batch, int table) {
    auto& rows = batch.tables[static_cast<size_t>(table)].rows;
    for (size_t f = 0; f < 7; ++f)
      if (kTable[f] == table)
        rows.insert(rows.end(), batch.fields[f].ids.begin(), batch.fields[f].ids.end());
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    for (size_t f = 0; f < 7; ++f)
      if (kTable[f] == table)
        for (int32_t& id : batch.fields[f].ids)
          id = static_cast<int32_t>(std::lower_bound(rows.begin(), rows.end(), id) - rows.begin());
  }

  Random random_;
  std::vector<double> popularity_;
  std::vector<int32_t> brand_;
  std::vector<std::vector<int32_t>> categories_;
  std::vector<Sample> pool_;
  std::vector<float> item_text_, cot_;
};

void measure(World& world, const std::string& name, models::ContextKind context) {
  const bool ict = context != models::ContextKind::kNone;
  const std::string step = "models.step.deepfm." + name, predict = "models.predict.deepfm." + name;
  if (!bench::wanted(step) && !bench::wanted(predict)) return;
  models::ModelOptions options;
  options.context = context;
  models::TrainableCtr model(world.spec(ict), options, {}, world.frozen(), 1);
  const int64_t rows = 128, count = ict ? 60 : 200, steps = ict ? 120 : 600;
  std::vector<Batch> batches;
  for (int64_t i = 0; i < count; ++i)
    batches.push_back(world.batch(rows, ict));
  int64_t next = 0;
  const auto run = [&](int64_t times) {
    for (int64_t i = 0; i < times; ++i)
      model.train_step(batches[static_cast<size_t>(next++ % count)]);
  };
  run(ict ? 20 : 100);
  const double seconds = bench::median_seconds(5, [&] { run(steps / 5); });
  bench::report(step, static_cast<double>(steps / 5 * rows) / seconds, "rows/s");
  model.flush();
  const Batch large = world.batch(256, ict);
  const double once = bench::median_seconds(20, [&] { model.predict(large); });
  bench::report(predict, 256 / once, "rows/s");
}

}  // namespace

int main(int argc, char** argv) {
  nn::limit_spinning(argv);
  bench::init(argc, argv);
  nn::set_threads(thread_count());
  World world;
  measure(world, "none", models::ContextKind::kNone);
  measure(world, "ict", models::ContextKind::kIct);
  std::fprintf(stderr, "models: %d threads, peak %.0f MiB\n", thread_count(),
               bench::peak_memory_mib());
  return 0;
}
