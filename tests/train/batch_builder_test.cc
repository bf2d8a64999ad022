// Batches against the data set itself, looked up sample by sample.
#include "train/batch_builder.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/trainable_ctr.h"
#include "train/batch_loader.h"
#include "train/shop.h"

namespace llmcf::train {
namespace {

using testing::Examples;
using testing::Shop;

std::vector<std::string> field_names(const models::FeatureSpec& spec) {
  std::vector<std::string> names;
  for (const models::FieldSpec& field : spec.fields)
    names.push_back(field.name);
  return names;
}

FeatureInputs plain_inputs(const Shop& shop) {
  FeatureInputs inputs;
  inputs.dataset = &shop.dataset();
  inputs.rows = &shop.rows();
  return inputs;
}

// Table rows in a bag.
std::vector<int32_t> bag_rows(const models::Batch& batch, const models::FeatureSpec& spec,
                              size_t field, size_t sample) {
  const models::Bag& bag = batch.fields[field];
  const auto table = static_cast<size_t>(spec.fields[field].table);
  std::vector<int32_t> rows;
  for (int32_t place = bag.offsets[sample]; place < bag.offsets[sample + 1]; ++place)
    rows.push_back(
        batch.tables[table].rows[static_cast<size_t>(bag.ids[static_cast<size_t>(place)])]);
  return rows;
}

std::vector<int32_t> attribute(const Shop& shop, const std::string& name, int64_t entity) {
  const data::FieldColumn& column = *shop.dataset().find_field(name);
  std::vector<int32_t> ids;
  for (int64_t place = column.offsets[static_cast<size_t>(entity)];
       place < column.offsets[static_cast<size_t>(entity) + 1]; ++place)
    ids.push_back(column.ids[static_cast<size_t>(place)]);
  return ids;
}

struct Who {
  int32_t user, item, position;
  int64_t event;
};

// What a field of a sample must hold, read from the data set.
std::vector<int32_t> expected_rows(const Shop& shop, const std::string& name, const Who& who,
                                   size_t history_length = 20) {
  if (name == "user_id") return {who.user};
  if (name == "item_id") return {who.item};
  if (name == "price") return {1};
  if (name == "city") return attribute(shop, name, who.user);
  if (name == "device") return attribute(shop, name, who.event);
  if (!name.starts_with("hist_")) return attribute(shop, name, who.item);
  std::vector<int32_t> rows;
  const auto history = shop.rows().history(who.user, who.position);
  for (const int32_t item : history.last(std::min(history.size(), history_length))) {
    const auto more = expected_rows(shop, name.substr(5), {who.user, item, 0, 0});
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

TEST(FeatureStore, OrdersFieldsAsTheAmazonPreset) {
  const Shop shop({});
  const FeatureStore store(plain_inputs(shop), {});
  EXPECT_EQ(field_names(store.spec()),
            (std::vector<std::string>{"user_id", "item_id", "brand", "category", "hist_item_id",
                                      "hist_brand", "hist_category"}));
  EXPECT_EQ(store.spec().tables.size(), 4U);
  EXPECT_EQ(store.spec().fields[4].table, store.spec().fields[1].table);
  EXPECT_FALSE(store.spec().fields[3].single);
}

TEST(FeatureStore, PutsUserItemContextAndHistoryFieldsInOrder) {
  const Shop shop({.extras = true});
  const FeatureStore store(plain_inputs(shop), {});
  EXPECT_EQ(field_names(store.spec()),
            (std::vector<std::string>{"user_id", "city", "item_id", "brand", "category", "price",
                                      "device", "hist_item_id", "hist_brand", "hist_category"}));
}

TEST(FeatureStore, HasAnOutOfVocabularyRowUnlessPaper) {
  const Shop shop({});
  EXPECT_EQ(FeatureStore(plain_inputs(shop), {}).spec().tables[0].rows, 62);
  EXPECT_EQ(FeatureStore(plain_inputs(shop), {.paper = true}).spec().tables[0].rows, 61);
}

TEST(FeatureStore, RejectsTextsOfAnotherDataSet) {
  const Shop shop({});
  FeatureInputs inputs = plain_inputs(shop);
  const std::vector<float> texts(10 * 4);
  inputs.item_text = texts;
  inputs.text_dim = 4;
  EXPECT_THROW(FeatureStore(inputs, {}), Error);
}

TEST(BatchBuilder, HoldsEveryFieldOfEverySample) {
  const Shop shop({.extras = true});
  const Examples examples(shop, 8, 4);
  const FeatureInputs inputs = examples.inputs(shop);
  const FeatureStore store(inputs, {.history_length = 3});
  BatchBuilder builder(store);
  models::Batch batch;
  builder.build(data::Split::kTrain, epoch_order(16, 1, 1), batch);  // leaves other content behind
  const std::vector<int64_t> rows = epoch_order(100, 1, 2);
  builder.build(data::Split::kTrain, rows, batch);

  ASSERT_EQ(batch.queries, 100);
  ASSERT_EQ(batch.samples, 100 + static_cast<int64_t>(batch.example_ids.size()));
  const data::Rows& train = shop.rows().train();
  for (size_t sample = 0; sample < static_cast<size_t>(batch.samples); ++sample) {
    Who who{};
    if (sample < 100) {
      const auto row = static_cast<size_t>(rows[sample]);
      who = {train.user[row], train.item[row], train.position[row], train.event[row]};
      EXPECT_EQ(batch.labels[sample], train.label[row]);
    } else {
      const auto example = static_cast<size_t>(batch.example_ids[sample - 100]);
      const size_t row = example * 7;  // where Examples took it from
      who = {inputs.examples.user[example], inputs.examples.item[example],
             inputs.examples.position[example], train.event[row]};
      EXPECT_EQ(batch.example_label[sample - 100], inputs.examples.label[example] > 0.5F ? 1 : 0);
    }
    for (size_t field = 0; field < store.spec().fields.size(); ++field) {
      const std::string& name = store.spec().fields[field].name;
      EXPECT_EQ(bag_rows(batch, store.spec(), field, sample), expected_rows(shop, name, who, 3))
          << name;
      if (name == "price") {
        EXPECT_EQ(batch.fields[field].weights[sample],
                  shop.dataset().find_field("price")->values[static_cast<size_t>(who.item)]);
      } else {
        EXPECT_TRUE(batch.fields[field].weights.empty());
      }
    }
  }
}

TEST(BatchBuilder, ListsTableRowsOnceAscending) {
  const Shop shop({});
  const Examples examples(shop, 8, 4);
  const FeatureStore store(examples.inputs(shop), {});
  BatchBuilder builder(store);
  models::Batch batch;
  builder.build(data::Split::kTrain, epoch_order(64, 1, 1), batch);
  for (const models::TableRows& table : batch.tables) {
    EXPECT_TRUE(
        std::is_sorted(table.rows.begin(), table.rows.end(), std::less_equal<>()));  // strictly
  }
  EXPECT_TRUE(
      std::is_sorted(batch.example_ids.begin(), batch.example_ids.end(), std::less_equal<>()));
  for (const models::Bag& bag : batch.fields) {
    EXPECT_EQ(bag.offsets.back(), static_cast<int32_t>(bag.ids.size()));
  }
}

TEST(BatchBuilder, PutsMaskedSlotsFirstAndKeepsTheOrder) {
  const Shop shop({});
  const Examples examples(shop, 8, 4);
  const FeatureInputs inputs = examples.inputs(shop);
  const FeatureStore store(inputs, {});
  BatchBuilder builder(store);
  models::Batch batch;
  const std::vector<int64_t> rows = {5, 3, 40, 41};
  builder.build(data::Split::kValid, rows, batch);
  ASSERT_EQ(batch.slots, 4);
  for (size_t query = 0; query < rows.size(); ++query) {
    std::vector<int32_t> wanted;
    std::vector<float> similarity;
    for (size_t slot = 0; slot < 4; ++slot) {
      const size_t from = static_cast<size_t>(rows[query]) * 4 + slot;
      if (inputs.slots[1].ids[from] < 0) continue;
      wanted.push_back(inputs.slots[1].ids[from]);
      similarity.push_back(inputs.slots[1].similarity[from]);
    }
    const size_t masked = 4 - wanted.size();
    for (size_t slot = 0; slot < 4; ++slot) {
      const int32_t found = batch.slot[query * 4 + slot];
      if (slot < masked) {
        EXPECT_EQ(found, -1);
        EXPECT_EQ(batch.slot_similarity[query * 4 + slot], 0);
      } else {
        EXPECT_EQ(batch.example_ids[static_cast<size_t>(found)], wanted[slot - masked]);
        EXPECT_EQ(batch.slot_similarity[query * 4 + slot], similarity[slot - masked]);
      }
    }
  }
}

TEST(BatchBuilder, AveragesTheTextsOfTheLastItems) {
  const Shop shop({});
  const Examples examples(shop, 8, 4);
  const FeatureInputs inputs = examples.inputs(shop);
  const FeatureStore store(inputs, {.history_length = 2});
  BatchBuilder builder(store);
  models::Batch batch;
  const std::vector<int64_t> rows = {0, 1, 30, 31, 7};
  builder.build(data::Split::kTrain, rows, batch);
  const data::Rows& train = shop.rows().train();
  for (size_t sample = 0; sample < static_cast<size_t>(batch.samples); ++sample) {
    const bool query = sample < rows.size();
    const auto row = query ? static_cast<size_t>(rows[sample])
                           : static_cast<size_t>(batch.example_ids[sample - rows.size()]);
    const int32_t user = query ? train.user[row] : inputs.examples.user[row];
    const int32_t position = query ? train.position[row] : inputs.examples.position[row];
    const int32_t item = query ? train.item[row] : inputs.examples.item[row];
    EXPECT_EQ(batch.text_items[static_cast<size_t>(batch.sample_text[sample])], item);
    const auto history = store.history(user, position);
    EXPECT_EQ(history.size(), std::min<size_t>(2, static_cast<size_t>(position)));
    for (size_t axis = 0; axis < 8; ++axis) {
      double mean = 0;
      for (const int32_t past : history)
        mean += static_cast<double>(inputs.item_text[static_cast<size_t>(past) * 8 + axis]) /
                static_cast<double>(history.size());
      EXPECT_NEAR(batch.history_text[sample * 8 + axis], mean, 1e-6);
    }
  }
}

TEST(BatchBuilder, LeavesAMissingBrandEmptyUnlessPaper) {
  const Shop shop({});
  const FeatureStore strict(plain_inputs(shop), {}), paper(plain_inputs(shop), {.paper = true});
  models::Batch strict_batch, paper_batch;
  const std::vector<int64_t> rows = epoch_order(50, 1, 1);
  BatchBuilder(strict).build(data::Split::kTrain, rows, strict_batch);
  BatchBuilder(paper).build(data::Split::kTrain, rows, paper_batch);
  int64_t missing = 0;
  for (size_t sample = 0; sample < 50; ++sample) {
    const std::vector<int32_t> found = bag_rows(strict_batch, strict.spec(), 2, sample);
    if (found.empty()) ++missing;
    EXPECT_EQ(bag_rows(paper_batch, paper.spec(), 2, sample),
              found.empty() ? std::vector<int32_t>{0} : found);
    EXPECT_EQ(bag_rows(paper_batch, paper.spec(), 5, sample),
              bag_rows(strict_batch, strict.spec(), 5, sample));
  }
  EXPECT_GT(missing, 0);
}

TEST(BatchBuilder, CopiesSideTables) {
  const Shop shop({});
  FeatureInputs inputs = plain_inputs(shop);
  std::vector<float> teacher(static_cast<size_t>(shop.rows().train().size()) * 2), users(5 * 3),
      items(41 * 3);
  std::array<std::vector<int32_t>, 3> user_rows;
  for (std::vector<float>* table : {&teacher, &users, &items})
    for (size_t index = 0; index < table->size(); ++index)
      (*table)[index] = static_cast<float>(index);
  inputs.teacher_logits[0] = teacher;
  for (const data::Split split : {data::Split::kTrain, data::Split::kValid, data::Split::kTest}) {
    auto& rows = user_rows[static_cast<size_t>(split)];
    rows.assign(static_cast<size_t>(shop.rows().rows(split).size()), 4);
    inputs.kar_user_row[static_cast<size_t>(split)] = rows;
  }
  user_rows[0][9] = 0;
  user_rows[0][2] = 3;
  inputs.kar_user = users;
  inputs.kar_item = items;
  inputs.kar_dim = 3;
  const FeatureStore store(inputs, {});
  models::Batch batch;
  BatchBuilder builder(store);
  builder.build(data::Split::kTrain, std::vector<int64_t>{9, 2}, batch);
  EXPECT_EQ(batch.teacher_logits, (std::vector<float>{18, 19, 4, 5}));
  const auto item = static_cast<float>(shop.rows().train().item[2]);
  EXPECT_EQ(batch.kar_item[3], item * 3);
  EXPECT_EQ(batch.kar_user, (std::vector<float>{0, 1, 2, 9, 10, 11}))
      << "a row reads the user vector that its own index names";
  builder.build(data::Split::kTest, std::vector<int64_t>{0}, batch);
  EXPECT_TRUE(batch.teacher_logits.empty());
  EXPECT_EQ(batch.kar_user, (std::vector<float>{12, 13, 14}));
  user_rows[1][0] = 5;
  EXPECT_THROW(FeatureStore(inputs, {}), Error) << "there are five user vectors only";
}

// The items of query b's history, read from the batch.
std::vector<int32_t> history_of(const models::Batch& batch, const models::FeatureSpec& spec,
                                size_t b) {
  const models::HistoryItems& history = batch.history;
  const auto table =
      static_cast<size_t>(spec.fields[static_cast<size_t>(spec.sequence_fields[0])].table);
  std::vector<int32_t> items;
  for (int32_t e = history.offsets[b]; e < history.offsets[b + 1]; ++e) {
    const auto place = static_cast<size_t>(history.items[static_cast<size_t>(e)]);
    const auto row = static_cast<size_t>(
        history.fields[0].ids[static_cast<size_t>(history.fields[0].offsets[place])]);
    items.push_back(batch.tables[table].rows[row]);
  }
  return items;
}

TEST(BatchBuilder, ListsTheLastItemsOfEachQueryOldestFirstEachOnce) {
  const Shop shop({});
  const Examples examples(shop, 8, 4);
  FeatureInputs inputs = examples.inputs(shop);
  inputs.histories = true;
  const FeatureStore store(inputs, {.history_length = 3});
  EXPECT_EQ(store.spec().sequence_fields, (std::vector<int>{1, 2, 3}));
  BatchBuilder builder(store);
  models::Batch batch;
  builder.build(data::Split::kTrain, epoch_order(16, 1, 1), batch);  // leaves other content behind
  const std::vector<int64_t> rows = epoch_order(100, 1, 2);
  builder.build(data::Split::kTrain, rows, batch);
  ASSERT_EQ(batch.history.offsets.size(), 101U);  // queries, not examples
  const data::Rows& train = shop.rows().train();
  std::set<int32_t> distinct;
  std::set<size_t> lengths;
  for (size_t b = 0; b < 100; ++b) {
    const auto row = static_cast<size_t>(rows[b]);
    const auto expected = store.history(train.user[row], train.position[row]);
    EXPECT_EQ(history_of(batch, store.spec(), b),
              std::vector<int32_t>(expected.begin(), expected.end()));
    distinct.insert(expected.begin(), expected.end());
    lengths.insert(static_cast<size_t>(train.position[row]));
  }
  EXPECT_TRUE(lengths.contains(1));
  EXPECT_GT(*lengths.rbegin(), 3U);  // longer than what counts
  EXPECT_EQ(batch.history.distinct, static_cast<int64_t>(distinct.size()));
  for (const models::Bag& bag : batch.history.fields)
    EXPECT_EQ(bag.offsets.size(), distinct.size() + 1);
}

TEST(BatchBuilder, GivesHistoryItemsTheFieldsOfACandidate) {
  const Shop shop({});
  FeatureInputs inputs = plain_inputs(shop);
  inputs.histories = true;
  for (const bool paper : {false, true}) {
    const FeatureStore store(inputs, {.paper = paper});
    models::Batch batch;
    BatchBuilder(store).build(data::Split::kTrain, epoch_order(50, 1, 1), batch);
    int64_t missing = 0;
    const auto rows_of = [&](size_t carried, size_t place) {
      const models::Bag& bag = batch.history.fields[carried];
      const auto table = static_cast<size_t>(store.spec().fields[carried + 1].table);
      std::vector<int32_t> rows;
      for (int32_t at = bag.offsets[place]; at < bag.offsets[place + 1]; ++at)
        rows.push_back(
            batch.tables[table].rows[static_cast<size_t>(bag.ids[static_cast<size_t>(at)])]);
      return rows;
    };
    for (size_t place = 0; place < static_cast<size_t>(batch.history.distinct); ++place) {
      const int32_t item = rows_of(0, place).at(0);
      std::vector<int32_t> brand = attribute(shop, "brand", item);
      if (brand.empty()) {
        ++missing;
        if (paper) brand = {0};
      }
      EXPECT_EQ(rows_of(1, place), brand);
      EXPECT_EQ(rows_of(2, place), attribute(shop, "category", item));
    }
    EXPECT_GT(missing, 0);
  }
}

TEST(BatchBuilder, CarriesNoHistoriesUnlessABackboneAsks) {
  const Shop shop({});
  const auto batch_of = [&](const std::string& backbone) {
    const auto model = models::ModelOptions::from(Config::parse("backbone: " + backbone), "strict");
    const FeatureStore store(inputs_for(model, plain_inputs(shop)), {});
    models::Batch batch;
    BatchBuilder(store).build(data::Split::kTrain, epoch_order(50, 1, 1), batch);
    return batch;
  };
  EXPECT_TRUE(batch_of("deepfm").history.items.empty());
  EXPECT_TRUE(batch_of("deepfm").history.fields.empty());
  EXPECT_FALSE(batch_of("din").history.items.empty());
  EXPECT_EQ(batch_of("deepfm").tables[1].rows, batch_of("din").tables[1].rows);
}

// K examples per row through the whole model.
class SlotCount : public ::testing::TestWithParam<int64_t> {};

TEST_P(SlotCount, TrainsTheInContextModule) {
  const Shop shop({});
  const Examples examples(shop, 8, GetParam());
  const auto options = models::ModelOptions::from(
      Config::parse("{embed_dim: 8, mlp: [12, 6], text_map: [10, 8], token_map: [12, 8], ict: "
                    "{reconstruction_map: [10]}, context: ict, gate: similarity}"),
      "strict");
  const FeatureStore store(inputs_for(options, examples.inputs(shop)), {});
  BatchBuilder builder(store);
  models::Batch batch;
  builder.build(data::Split::kTrain, epoch_order(32, 1, 1), batch);
  ASSERT_EQ(batch.slots, GetParam());
  models::TrainableCtr model(store.spec(), options, {},
                             {.item_text = store.inputs().item_text, .cot = examples.cot()}, 1);
  const double before = model.evaluate_loss(batch).total;
  for (int step = 0; step < 10; ++step) {
    const models::StepLosses losses = model.train_step(batch);
    ASSERT_TRUE(losses.finite());
    EXPECT_GT(losses.reconstruction, 0.0);
  }
  EXPECT_LT(model.evaluate_loss(batch).total, before);
}

INSTANTIATE_TEST_SUITE_P(From1To32, SlotCount, ::testing::Values(1, 2, 3, 8, 32));

TEST(EpochOrder, IsAPermutationThatDependsOnSeedAndEpoch) {
  std::vector<int64_t> order = epoch_order(1000, 5, 1);
  EXPECT_NE(order, epoch_order(1000, 5, 2));
  EXPECT_NE(order, epoch_order(1000, 6, 1));
  EXPECT_EQ(order, epoch_order(1000, 5, 1));
  std::sort(order.begin(), order.end());
  for (int64_t row = 0; row < 1000; ++row)
    EXPECT_EQ(order[static_cast<size_t>(row)], row);
}

TEST(BatchLoader, GivesTheSameBatchesWithAndWithoutAThread) {
  const Shop shop({});
  const Examples examples(shop, 8, 4);
  const FeatureStore store(examples.inputs(shop), {});
  const std::vector<int64_t> order = epoch_order(shop.rows().train().size(), 1, 1);
  BatchLoader direct(store, data::Split::kTrain, order, {.batch_size = 50, .depth = 0});
  BatchLoader ahead(store, data::Split::kTrain, order, {.batch_size = 50, .depth = 2});
  int64_t batches = 0, rows = 0;
  while (const models::Batch* a = direct.next()) {
    const models::Batch* b = ahead.next();
    ASSERT_NE(b, nullptr);
    EXPECT_EQ(a->labels, b->labels);
    EXPECT_EQ(a->slot, b->slot);
    EXPECT_EQ(a->history_text, b->history_text);
    EXPECT_EQ(a->fields[6].ids, b->fields[6].ids);
    EXPECT_EQ(ahead.batch_rows()[0], order[static_cast<size_t>(batches) * 50]);
    ++batches;
    rows += b->queries;
  }
  EXPECT_EQ(ahead.next(), nullptr);
  EXPECT_EQ(batches, direct.num_batches());
  EXPECT_EQ(rows, shop.rows().train().size());
}

TEST(BatchLoader, StopsItsThreadWhenLeftEarly) {
  const Shop shop({});
  const FeatureStore store(plain_inputs(shop), {});
  BatchLoader loader(store, data::Split::kTrain, {}, {.batch_size = 1, .depth = 2});
  ASSERT_NE(loader.next(), nullptr);
  EXPECT_EQ(loader.batch_rows()[0], 0);
}  // hangs if not

}  // namespace
}  // namespace llmcf::train
