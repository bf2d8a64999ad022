// The gate on the context: its statistics, where it starts, what it learns.
#include "models/gate.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "models/recommender.h"
#include "models/toy_batch.h"
#include "models/trainable_ctr.h"
#include "nn/dropout.h"

namespace llmcf::models {
namespace {

using testing::ToyWorld;

ModelOptions gated(const std::string& context) {
  ModelOptions options = ToyWorld::options(context);
  options.gated = true;
  return options;
}

TEST(GateStatistics, AreBestAndMeanByLabelAndTheShareOfMaskedSlots) {
  Batch batch;
  batch.queries = 3;
  batch.slots = 4;
  batch.example_label = {1, 0, 1};
  batch.slot = {-1, 0, 1, 2, -1, -1, -1, 1, -1, -1, -1, -1};
  batch.slot_similarity = {0, 0.2F, 0.7F, 0.6F, 0, 0, 0, -0.5F, 0, 0, 0, 0};
  const torch::Tensor found = gate_statistics(batch);
  const float expected[3][5] = {
      {0.6F, 0.4F, 0.7F, 0.7F, 0.25F}, {0, 0, -0.5F, -0.5F, 0.75F}, {0, 0, 0, 0, 1}};
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_NEAR(found[b][i].item<float>(), expected[b][i], 1e-6) << b << " " << i;
  batch.slots = 0;
  EXPECT_EQ(gate_statistics(batch)[0][4].item<float>(), 1.0F);
}

class GatedContext : public ::testing::TestWithParam<std::string> {};

TEST_P(GatedContext, StartsOpenAndScalesTheContext) {
  const ToyWorld world;
  const Batch batch = ToyWorld::batch(1);
  Recommender with(ToyWorld::spec(), gated(GetParam()), world.frozen(), 1);
  Recommender without(ToyWorld::spec(), ToyWorld::options(GetParam()), world.frozen(), 1);
  with.eval();
  without.eval();
  const RecommenderOutput a = with.forward(batch), b = without.forward(batch);
  ASSERT_EQ(a.gate.sizes(), at::IntArrayRef({16}));
  EXPECT_NEAR(a.gate.min().item<float>(), 0.8808F, 1e-4);
  EXPECT_NEAR(a.gate.max().item<float>(), 0.8808F, 1e-4);
  EXPECT_LE((a.context - a.gate.unsqueeze(1) * b.context).abs().max().item<float>(), 1e-6);
  EXPECT_FALSE(b.gate.defined());
}

TEST_P(GatedContext, GradientReachesTheGate) {
  const ToyWorld world;
  Recommender model(ToyWorld::spec(), gated(GetParam()), world.frozen(), 1);
  Batch batch = ToyWorld::batch(1, 64);
  Random random(1, "similarity");
  for (float& similarity : batch.slot_similarity)
    similarity = static_cast<float>(random.uniform());
  const nn::DropoutScope scope(1, 0);
  model.train();
  model.loss(batch).total.backward();
  for (const auto& [name, parameter] : model.dense_parameters())
    if (name.starts_with("gate.")) {
      ASSERT_TRUE(parameter.grad().defined()) << name;
      EXPECT_GT(parameter.grad().abs().min().item<float>(), 0.0F) << name;
    }
}

// Examples tell the label, but for rows whose examples are not similar: there they tell the
// opposite.
class MisleadingWorld {
 public:
  MisleadingWorld() : cot_(ToyWorld::kPool * ToyWorld::kText) {
    for (size_t e = 0; e < ToyWorld::kPool; ++e)  // example e has label e % 2
      for (size_t w = 0; w < ToyWorld::kText; ++w)
        cot_[e * ToyWorld::kText + w] = (e % 2 == 1 ? 0.5F : -0.5F) * (w % 2 == 0 ? 1.0F : -1.0F);
  }

  static bool is_similar(size_t row) { return row % 5 < 3; }

  static Batch batch(uint64_t index) {
    Batch batch = ToyWorld::batch(index, 60);
    Random random(index, "labels");
    for (size_t b = 0; b < 60; ++b) {
      const int32_t label = static_cast<int32_t>(random.below(2));
      batch.labels[b] = static_cast<float>(label);
      for (size_t k = 0; k < 2; ++k) {
        batch.slot[2 * b + k] = 2 * static_cast<int32_t>(random.below(ToyWorld::kPool / 2)) +
                                (is_similar(b) ? label : 1 - label);
        batch.slot_similarity[2 * b + k] = is_similar(b) ? 0.9F : 0.1F;
      }
    }
    return batch;
  }

  FrozenTables frozen() const { return {.item_text = world_.frozen().item_text, .cot = cot_}; }

 private:
  ToyWorld world_;
  std::vector<float> cot_;
};

TEST_P(GatedContext, ClosesWhereExamplesMislead) {
  const MisleadingWorld world;
  TrainableCtr model(ToyWorld::spec(), gated(GetParam()), {.learning_rate = 0.02}, world.frozen(),
                     1);
  for (uint64_t step = 0; step < 250; ++step)
    ASSERT_TRUE(model.train_step(MisleadingWorld::batch(step)).finite());
  const Prediction prediction = model.predict(MisleadingWorld::batch(1000));
  ASSERT_EQ(prediction.gate.size(), 60U);
  double open = 0, closed = 0;
  for (size_t b = 0; b < 60; ++b)
    (MisleadingWorld::is_similar(b) ? open : closed) += prediction.gate[b];
  open /= 36;
  closed /= 24;
  EXPECT_LT(closed, 0.4);  // from 0.88
  EXPECT_GT(open, closed + 0.15);
}

INSTANTIATE_TEST_SUITE_P(All, GatedContext, ::testing::Values("concat", "ict", "ict_wocot", "mean"),
                         [](const auto& entry) { return entry.param; });

TEST(GateOption, NeedsAContextThatReadsExamples) {
  const auto read = [](const std::string& text) {
    return ModelOptions::from(Config::parse(text), "strict");
  };
  EXPECT_TRUE(read("{context: ict, gate: similarity}").gated);
  EXPECT_FALSE(read("context: ict").gated);
  EXPECT_FALSE(read("{context: none, gate: similarity}").gated);  // nothing to gate
  EXPECT_THROW(read("{context: text, gate: similarity}"), InputError);
  EXPECT_THROW(read("{context: ict, gate: similar}"), InputError);
  const ToyWorld world;
  EXPECT_THROW(Recommender(ToyWorld::spec(), gated("text"), world.frozen(), 1), Error);
}

}  // namespace
}  // namespace llmcf::models
