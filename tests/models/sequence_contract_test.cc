// What every sequence backbone keeps to, alone and with every context source.
#include <memory>

#include <ATen/core/grad_mode.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "models/sequence_model.h"
#include "models/sequence_recommender.h"
#include "models/toy_sequences.h"
#include "models/trainable_sequence.h"
#include "nn/dropout.h"

namespace llmcf::models {
namespace {

using testing::ToySequences;

class Composition : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  ModelOptions options() const {
    const auto& [backbone, context] = GetParam();
    if (context == "published")
      return ToySequences::options(backbone, "ict", ", ict: {module: published}");
    if (context == "concat_fusion")
      return ToySequences::options(backbone, "ict", ", fusion: concat");
    return ToySequences::options(backbone, context);
  }
  int64_t slots() const { return uses_examples(options().context) ? 3 : 0; }
  SequenceRecommender model() const {
    return {ToySequences::data(), options(), world_.frozen(), 1};
  }
  ToySequences world_;
};

// An empty history, one item, one repeated twenty times, one as long as the window.
TEST_P(Composition, HasAStateForEveryHistory) {
  const torch::NoGradGuard no_gradients;
  SequenceRecommender made = model();
  made.eval();
  const auto histories = ToySequences::histories();
  const SequenceBatch batch = world_.batch(histories, slots());
  const torch::Tensor states = made.forward(batch).state;
  EXPECT_EQ(states.sizes(), at::IntArrayRef({static_cast<int64_t>(histories.size()), 8}));
  EXPECT_TRUE(states.isfinite().all().item<bool>());
}

TEST_P(Composition, SequencesDoNotSeeEachOther) {
  const torch::NoGradGuard no_gradients;
  SequenceRecommender made = model();
  made.eval();
  const auto histories = ToySequences::histories();
  const SequenceBatch together = world_.batch(histories, 0);
  const torch::Tensor states = made.forward(together).state;
  for (const size_t q : {0, 2, 5}) {
    SequenceBatch alone = world_.batch({histories[q]}, 0);
    alone.sample_user[0] = together.sample_user[q];
    EXPECT_LT(
        (made.forward(alone).state[0] - states[static_cast<int64_t>(q)]).abs().max().item<float>(),
        1e-5F)
        << q;
  }
}

TEST_P(Composition, GradientReachesEveryParameterAndTable) {
  SequenceRecommender made = model();
  made.train();
  const nn::DropoutScope scope(1, 0);
  const SequenceBatch batch = world_.batch(ToySequences::histories(), slots());
  made.loss(batch).total.backward();
  for (const auto& [name, parameter] : made.dense_parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    if (name == "context.ict.gate" || made.named_parameters().contains("context.ict.gate"))
      continue;  // a gate of zero hides what is behind it in the first step
    EXPECT_GT(parameter.grad().abs().sum().item<float>(), 0.0F) << name;
  }
  for (const nn::SlabGradient& slab : made.slab_gradients())
    EXPECT_GT(slab.slab.grad().abs().sum().item<float>(), 0.0F);
}

TEST_P(Composition, LearnsKeepsPaddingZeroAndSavesWhatItIs) {
  TrainableSequence model(ToySequences::data(), options(), {.learning_rate = 0.01}, world_.frozen(),
                          1);
  const SequenceBatch batch = world_.batch(ToySequences::histories(), slots());
  const double before = model.train_step(batch).click;
  double after = before;
  for (int step = 0; step < 40; ++step) {
    const StepLosses losses = model.train_step(batch);
    ASSERT_TRUE(losses.finite());
    after = losses.click;
  }
  EXPECT_LT(after, 0.8 * before);
  const std::vector<float> items = model.item_vectors();
  for (int64_t i = 0; i < ToySequences::kDim; ++i)
    EXPECT_EQ(items[static_cast<size_t>(i)], 0.0F);

  const TemporaryDirectory directory;
  SafetensorsWriter writer;
  model.add_state(writer);
  writer.write(directory.path() / "model.safetensors");
  TrainableSequence again(ToySequences::data(), options(), {}, world_.frozen(), 2);
  again.load_state(SafetensorsReader(directory.path() / "model.safetensors"));
  EXPECT_EQ(again.states(batch), model.states(batch));
}

std::vector<std::string> backbones() {
  std::vector<std::string> names;
  for (const SequenceEntry& entry : sequence_models())
    names.emplace_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(
    All, Composition,
    ::testing::Combine(::testing::ValuesIn(backbones()),
                       ::testing::Values("none", "text", "concat", "ict", "ict_wocot", "mean",
                                         "published", "concat_fusion")),
    [](const auto& entry) { return std::get<0>(entry.param) + "_" + std::get<1>(entry.param); });

class Backbone : public ::testing::TestWithParam<std::string> {};

// What a state has seen ends at its token: more items behind it change nothing.
TEST_P(Backbone, StatesDoNotSeeTheFuture) {
  if (!sequence_model(GetParam()).needs.every_position)
    GTEST_SKIP() << GetParam() << " has one state per history";
  const torch::NoGradGuard no_gradients;
  const ToySequences world;
  SequenceRecommender model(ToySequences::data(), ToySequences::options(GetParam()), {}, 1);
  model.eval();
  SequenceBatch longer = world.batch({{4, 7, 1, 9}});
  longer.reads[0] = 1;
  const SequenceBatch shorter = world.batch({{4, 7}});
  EXPECT_LT((model.forward(longer).state - model.forward(shorter).state).abs().max().item<float>(),
            1e-6F);
}

// The largest difference between the states of two histories.
float difference(const ModelOptions& options, std::vector<std::vector<int32_t>> histories) {
  const torch::NoGradGuard no_gradients;
  const ToySequences world;
  SequenceRecommender model(ToySequences::data(), options, world.frozen(), 1);
  model.eval();
  const SequenceBatch batch = world.batch(histories);
  const torch::Tensor states = model.forward(batch).state;
  return (states[0] - states[1]).abs().max().item<float>();
}

TEST_P(Backbone, OrderMattersToAllButAMean) {
  const float found = difference(ToySequences::options(GetParam()), {{4, 7, 1}, {7, 1, 4}});
  if (GetParam() == "youtubednn") {
    EXPECT_LT(found, 1e-6F);
  } else {
    EXPECT_GT(found, 1e-6F);
  }
}

// Two users with one history are told apart by their vectors, and only by them.
TEST_P(Backbone, UsersDifferOnlyWhereUserIdsAreOn) {
  for (const std::string context : {"none", "text", "ict"}) {
    const auto found = [&](const std::string& more) {
      return difference(ToySequences::options(GetParam(), context, more), {{4, 7}, {4, 7}});
    };
    EXPECT_EQ(found(""), 0) << context;
    const bool reads = context != "none" || GetParam() == "youtubednn";
    EXPECT_EQ(found(", user_ids: true") > 1e-6F, reads) << context;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Backbone, ::testing::ValuesIn(backbones()),
                         [](const auto& entry) { return entry.param; });

TEST(SequenceOptions, KnowWhatABackboneCan) {
  const auto read = [](const std::string& text, const std::string& protocol = "strict") {
    return ModelOptions::from(Config::parse(text), protocol);
  };
  EXPECT_TRUE(read("backbone: sasrec").sequence.every_position);
  EXPECT_FALSE(read("backbone: srgnn").sequence.every_position);
  EXPECT_FALSE(read("backbone: sasrec", "paper").sequence.every_position);
  EXPECT_EQ(read("backbone: sasrec").sequence.loss, NextItemLoss::kSoftmax);
  EXPECT_EQ(read("backbone: sasrec", "paper").sequence.loss, NextItemLoss::kSampled);
  EXPECT_TRUE(read("backbone: youtubednn").sequence.concat_fusion);
  EXPECT_FALSE(read("backbone: youtubednn").sequence.user_ids);
  EXPECT_TRUE(read("backbone: youtubednn", "paper").sequence.user_ids);
  EXPECT_EQ(read("backbone: gru4rec").embed_dim, 64);
  for (const char* bad :
       {"{backbone: srgnn, targets: every}", "{backbone: sasrec, context: kar}",
        "{backbone: sasrec, loss: logits}", "{backbone: sasrec, sasrec: {block: 1}}",
        "{backbone: sasrec, mlp: [3]}", "{backbone: sasrek}"})
    EXPECT_THROW(read(bad), InputError) << bad;
}

TEST(SequenceRecommender, NamesAWidthThatDoesNotFit) {
  const ToySequences world;
  const ModelOptions options =
      ToySequences::options("sasrec", "text", ", text_map: [4], token_map: [4]");
  EXPECT_THROW(SequenceRecommender(ToySequences::data(), options, world.frozen(), 1), Error);
}

}  // namespace
}  // namespace llmcf::models
