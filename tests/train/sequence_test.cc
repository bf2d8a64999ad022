// Rows as sequences, and the training of sequence models on a small shop.
#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/progress.h"
#include "train/all_items.h"
#include "train/sequence_builder.h"
#include "train/sequence_trainer.h"
#include "train/shop.h"

namespace llmcf::train {
namespace {

using testing::Examples;
using testing::Shop;

// Examples as retrieved for positive rows only.
FeatureInputs positive_inputs(const Shop& shop, const Examples& examples,
                              std::array<std::vector<int32_t>, 3>& ids) {
  FeatureInputs inputs = examples.inputs(shop);
  for (const data::Split split : data::kAllSplits) {
    const auto at = static_cast<size_t>(split);
    const auto k = static_cast<size_t>(inputs.k);
    for (const int64_t row : positive_rows(shop.rows().rows(split)))
      for (size_t slot = 0; slot < k; ++slot)
        ids[at].push_back(inputs.slots[at].ids[static_cast<size_t>(row) * k + slot]);
    inputs.slots[at] = {.ids = ids[at], .similarity = {}};
  }
  return inputs;
}

class Scenario {
 public:
  Scenario(const std::string& model, int64_t history_length = 20,
           const testing::ShopOptions& options = {.users = 150})
      : shop_(options), examples_(shop_, 16, 4) {
    set_progress_enabled(false);
    model_ = models::ModelOptions::from(
        Config::parse("{embed_dim: 8, dropout: 0.1, " + model + "}"), "strict");
    FeatureOptions features;
    features.history_length = history_length;
    store_ = std::make_unique<SequenceStore>(
        inputs_for(model_, positive_inputs(shop_, examples_, ids_)), features);
  }

  SequenceTask task(const std::filesystem::path& directory) const {
    SequenceTask task;
    task.sequences = store_.get();
    if (models::uses_cot(model_.context)) task.example_text = examples_.cot();
    task.model = model_;
    task.directory = directory;
    task.name = "test";
    return task;
  }
  const SequenceStore& store() const { return *store_; }
  const models::ModelOptions& model() const { return model_; }
  const Shop& shop() const { return shop_; }

 private:
  Shop shop_;
  Examples examples_;
  models::ModelOptions model_;
  std::array<std::vector<int32_t>, 3> ids_;
  std::unique_ptr<SequenceStore> store_;
};

TrainOptions quick_options() {
  TrainOptions options;
  options.epochs = 8;
  options.patience = 0;
  options.batch_size = 32;
  options.threads = 1;
  options.optimizer.learning_rate = 0.01;
  return options;
}

// Every row once, reading the state after exactly the items before it.
void expect_served(const SequenceStore& store, const SequenceUnits& units, data::Split split) {
  std::vector<int> served(static_cast<size_t>(store.count(split)));
  for (const SequenceUnit& unit : units.units) {
    EXPECT_LE(unit.end - unit.begin, store.data().history_length);
    EXPECT_LT(unit.first, unit.last);
    for (int64_t index = unit.first; index < unit.last; ++index) {
      const int64_t row = units.rows[static_cast<size_t>(index)];
      ++served[static_cast<size_t>(row)];
      EXPECT_EQ(store.user(split, row), unit.user);
      const int32_t position = store.position(split, row);
      EXPECT_TRUE(unit.end == 0 ? position == 0 : position > unit.begin && position <= unit.end);
    }
  }
  EXPECT_TRUE(std::ranges::all_of(served, [](int times) { return times == 1; }));
}

TEST(SequenceStore, ServesEveryRowOnce) {
  for (const int64_t length : {20, 5, 3, 1}) {
    const Scenario scenario("backbone: sasrec", length);
    for (const data::Split split : data::kAllSplits) {
      expect_served(scenario.store(), scenario.store().row_units(split), split);
      expect_served(scenario.store(), scenario.store().window_units(split), split);
    }
    const auto windows = scenario.store().window_units(data::Split::kTrain).units.size();
    const auto rows = static_cast<size_t>(scenario.store().count(data::Split::kTrain));
    EXPECT_TRUE(length == 1 ? windows == rows : windows < rows) << length;
  }
}

TEST(SequenceStore, ReadsPositiveRowsOnly) {
  const Scenario scenario("backbone: sasrec");
  const data::Rows& train = scenario.shop().rows().train();
  EXPECT_EQ(scenario.store().count(data::Split::kTrain), train.size() / 2);
  for (const int64_t row : positive_rows(train))
    EXPECT_EQ(train.label[static_cast<size_t>(row)], 1.0F);
}

TEST(SequenceBuilder, WritesWhatTheRowsSay) {
  const Scenario scenario("backbone: srgnn, context: ict, loss: sampled, negatives: 7", 4);
  const SequenceStore& store = scenario.store();
  const SequenceUnits units = store.row_units(data::Split::kTrain);
  SequenceBuilder builder(store, scenario.model());
  models::SequenceBatch batch;
  const std::vector<int64_t> chosen = {0, 5, 9, 3};
  const NegativeDraw draw{.seed = 1, .epoch = 2, .batch = 3};
  builder.build(data::Split::kTrain, units, chosen, &draw, batch);
  const auto& item_rows = batch.common.tables[models::kItemTable].rows;
  const auto item = [&](int32_t slab) { return item_rows[static_cast<size_t>(slab)]; };
  EXPECT_EQ(batch.common.queries, 4);
  EXPECT_EQ(batch.sequences(), batch.common.samples);
  EXPECT_TRUE(std::ranges::is_sorted(item_rows));
  for (size_t q = 0; q < chosen.size(); ++q) {
    const int64_t row = chosen[q];
    const int32_t position = store.position(data::Split::kTrain, row);
    const auto history =
        scenario.shop().rows().history(store.user(data::Split::kTrain, row), position);
    const auto window = history.last(std::min<size_t>(4, history.size()));
    ASSERT_EQ(static_cast<size_t>(batch.offsets[q + 1] - batch.offsets[q]), window.size());
    for (size_t t = 0; t < window.size(); ++t)
      EXPECT_EQ(item(batch.items[static_cast<size_t>(batch.offsets[q]) + t]), window[t]);
    EXPECT_EQ(item(batch.target[q]), store.item(data::Split::kTrain, row));
    EXPECT_EQ(item(batch.sample_item[q]), 0) << "a query's item is unknown";
  }
  std::set<int32_t> negatives;
  for (const int32_t slab : batch.negative)
    negatives.insert(item(slab));
  EXPECT_EQ(negatives.size(), 7U);
  EXPECT_FALSE(negatives.contains(0));
  EXPECT_EQ(batch.graphs.alias.size(), batch.items.size());
  models::SequenceBatch again;
  SequenceBuilder(store, scenario.model()).build(data::Split::kTrain, units, chosen, &draw, again);
  EXPECT_EQ(again.negative, batch.negative);
  EXPECT_EQ(again.items, batch.items);
}

TEST(SequenceBuilder, DrawsEveryItemWhereNegativesAreMoreThanItems) {
  const Scenario scenario("backbone: sasrec, loss: bpr, negatives: 1000");
  const SequenceUnits units = scenario.store().row_units(data::Split::kTrain);
  models::SequenceBatch batch;
  const std::vector<int64_t> chosen = {0};
  const NegativeDraw draw;
  SequenceBuilder(scenario.store(), scenario.model())
      .build(data::Split::kTrain, units, chosen, &draw, batch);
  const std::set<int32_t> distinct(batch.negative.begin(), batch.negative.end());
  EXPECT_EQ(static_cast<int64_t>(distinct.size()), scenario.store().data().items);
}

// Where slots are by every row they are refused.
TEST(SequenceStore, RefusesSlotsOfAClickModel) {
  const Shop shop({.users = 60});
  const Examples examples(shop, 16, 4);
  EXPECT_THROW(SequenceStore(examples.inputs(shop), FeatureOptions{}), Error);
}

class Trains : public ::testing::TestWithParam<std::string> {};

TEST_P(Trains, LearnsAndRepeatsItselfAlsoAfterAKill) {
  const Scenario scenario(GetParam());
  const TemporaryDirectory one, two;
  const TrainOptions options = quick_options();
  const TrainResult result = train_sequences(scenario.task(one.path()), options);
  EXPECT_LT(result.epochs.back().train.click, result.epochs.front().train.click);
  double chance = 0;  // NDCG@10 of a random order of 40 items
  for (int64_t rank = 0; rank < 10; ++rank)
    chance += ndcg(rank, 10) / 40;
  const auto best = static_cast<size_t>(result.best_epoch) - 1;
  EXPECT_GT(result.epochs[best].valid.at("ndcg@10"), 1.15 * chance);
  EXPECT_GE(result.test.figures.at("hit@10_unseen"), result.test.figures.at("hit@10"));
  TrainOptions stops = options;
  stops.stop_after_epoch = 2;
  EXPECT_FALSE(train_sequences(scenario.task(two.path()), stops).finished);
  const TrainResult again = train_sequences(scenario.task(two.path()), options);
  EXPECT_EQ(again.test.figures.all(), result.test.figures.all());
  for (const char* file : {"best.safetensors", "test_scores.safetensors"})
    EXPECT_EQ(read_file(one.path() / file), read_file(two.path() / file)) << file;
}

INSTANTIATE_TEST_SUITE_P(
    All, Trains,
    ::testing::Values("backbone: sasrec", "backbone: gru4rec, loss: sampled",
                      "backbone: youtubednn, loss: bpr", "backbone: srgnn",
                      "backbone: sasrec, loss: in_batch", "backbone: sasrec, context: text",
                      "backbone: sasrec, context: ict", "backbone: srgnn, context: ict",
                      "backbone: gru4rec, context: ict, ict: {module: published}"),
    [](const auto& entry) { return std::to_string(entry.index); });

TEST(Trains, GivesVectorsThatReproduceTheRanks) {
  const Scenario scenario("backbone: sasrec");
  const TemporaryDirectory directory;
  const SequenceTask task = scenario.task(directory.path());
  train_sequences(task, quick_options());
  const SequenceVectors vectors = sequence_vectors(
      task, quick_options(), directory.path() / "best.safetensors", data::Split::kTest);
  const SafetensorsReader scores(directory.path() / "test_scores.safetensors");
  const auto ranks = scores.get<int32_t>("rank");
  const auto D = static_cast<size_t>(vectors.width);
  for (size_t row = 0; row < 10; ++row) {
    const auto score = [&](size_t item) {
      float sum = 0;
      for (size_t d = 0; d < D; ++d)
        sum += vectors.states[row * D + d] * vectors.items[item * D + d];
      return sum;
    };
    const auto target =
        static_cast<size_t>(scenario.store().item(data::Split::kTest, static_cast<int64_t>(row)));
    int32_t before = 0;
    for (size_t item = 1; item * D < vectors.items.size(); ++item)
      before += item != target && score(item) > score(target);
    EXPECT_NEAR(before, ranks[row], 1);
  }
}

// A catalogue most of which nobody has taken: such items are targets of test rows, and ranked.
TEST(Trains, RanksItemsThatTrainingNeverSaw) {
  const Scenario scenario("backbone: sasrec", 20, {.users = 30, .items = 300, .events = 5});
  const TemporaryDirectory directory;
  TrainOptions options = quick_options();
  options.epochs = 2;
  train_sequences(scenario.task(directory.path()), options);
  const SafetensorsReader scores(directory.path() / "test_scores.safetensors");
  const auto ranks = scores.get<int32_t>("rank");
  const auto seen = scenario.shop().rows().item_train_count();
  int64_t cold = 0;
  for (size_t row = 0; row < ranks.size(); ++row) {
    const int32_t item = scenario.store().item(data::Split::kTest, static_cast<int64_t>(row));
    cold += seen[static_cast<size_t>(item)] == 0;
    EXPECT_GE(ranks[row], 0);
    EXPECT_LT(ranks[row], 300);
  }
  EXPECT_GT(cold, 0) << "the shop has no such row: the test says nothing";
}

TEST(AllItems, FiguresAreTheDefinitions) {
  Figures figures;
  const std::vector<int32_t> ranks = {0, 4, 9, 10, 500};
  add_figures(ranks, "_x", figures);
  EXPECT_EQ(figures.all().front().first, "ndcg@10_x");
  EXPECT_DOUBLE_EQ(figures.at("hit@1_x"), 0.2);
  EXPECT_DOUBLE_EQ(figures.at("hit@10_x"), 0.6);
  EXPECT_DOUBLE_EQ(figures.at("hit@20_x"), 0.8);
  EXPECT_DOUBLE_EQ(figures.at("mrr@5_x"), (1 + 0.2) / 5);
  EXPECT_DOUBLE_EQ(figures.at("ndcg@10_x"), (1 + 1 / std::log2(6.0) + 1 / std::log2(11.0)) / 5);
  EXPECT_THROW(figures.at("hit@3_x"), Error);
}

}  // namespace
}  // namespace llmcf::train
