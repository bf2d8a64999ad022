// The front door: learning, exact continuation, padding, options and errors.
#include "models/trainable_ctr.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "models/toy_batch.h"

namespace llmcf::models {
namespace {

using testing::ToyWorld;

TrainableCtr make(const ToyWorld& world, const ModelOptions& options, uint64_t seed = 1) {
  return {ToyWorld::spec(), options, {.learning_rate = 0.01}, world.frozen(), seed};
}

void save(TrainableCtr& model, const std::filesystem::path& path) {
  SafetensorsWriter writer;
  model.add_state(writer);
  model.add_optimizer_state(writer);
  writer.write(path);
}

// Running statistics and everything else a backbone keeps go through the file.
class TrainableBackbone : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainableBackbone, ContinuesBitForBitFromAFile) {
  const ToyWorld world;
  const TemporaryDirectory directory;
  const ModelOptions options = ToyWorld::options("none", GetParam());
  TrainableCtr whole = make(world, options);
  for (uint64_t step = 0; step < 3; ++step)
    whole.train_step(ToyWorld::batch(step));
  save(whole, directory.path() / "half.safetensors");
  TrainableCtr resumed = make(world, options, 2);
  const SafetensorsReader half(directory.path() / "half.safetensors");
  resumed.load_state(half);
  EXPECT_EQ(whole.predict(ToyWorld::batch(9)).logits, resumed.predict(ToyWorld::batch(9)).logits);
  TrainableCtr same = make(world, options);
  same.load_state(half);
  same.load_optimizer_state(half);
  for (uint64_t step = 3; step < 6; ++step)
    EXPECT_EQ(whole.train_step(ToyWorld::batch(step)).total,
              same.train_step(ToyWorld::batch(step)).total);
}

INSTANTIATE_TEST_SUITE_P(All, TrainableBackbone, ::testing::ValuesIn(backbone_names()),
                         [](const auto& entry) { return entry.param; });

TEST(TrainableCtr, DistillsAndReconstructsTogether) {
  const ToyWorld world;
  ModelOptions options = ToyWorld::options("ict");
  options.distillation_weight = 0.5;
  options.reconstruction_weight = 0.25;
  TrainableCtr model = make(world, options);
  const StepLosses losses = model.train_step(ToyWorld::batch(1));
  EXPECT_GT(losses.reconstruction, 0.0);
  EXPECT_GT(losses.distillation, 0.0);
  EXPECT_NEAR(losses.total, losses.click + 0.5 * losses.distillation + 0.25 * losses.reconstruction,
              1e-5);
}

class TrainableContext : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainableContext, LearnsItsBatches) {
  const ToyWorld world;
  TrainableCtr model = make(world, ToyWorld::options(GetParam()));
  const Batch batch = ToyWorld::batch(1, 64);
  const double before = model.evaluate_loss(batch).click;
  for (int step = 0; step < 150; ++step)
    ASSERT_TRUE(model.train_step(batch).finite());
  EXPECT_LT(model.evaluate_loss(batch).click, 0.3 * before);
  EXPECT_EQ(model.steps(), 150);
}

TEST_P(TrainableContext, ContinuesBitForBitFromAFile) {
  const ToyWorld world;
  const TemporaryDirectory directory;
  TrainableCtr whole = make(world, ToyWorld::options(GetParam()));
  for (uint64_t step = 0; step < 5; ++step)
    whole.train_step(ToyWorld::batch(step));
  save(whole, directory.path() / "half.safetensors");
  TrainableCtr resumed = make(world, ToyWorld::options(GetParam()));
  const SafetensorsReader half(directory.path() / "half.safetensors");
  resumed.load_state(half);
  resumed.load_optimizer_state(half);
  for (uint64_t step = 5; step < 10; ++step) {
    const StepLosses one = whole.train_step(ToyWorld::batch(step));
    const StepLosses two = resumed.train_step(ToyWorld::batch(step));
    EXPECT_EQ(one.total, two.total);
  }
  save(whole, directory.path() / "whole.safetensors");
  save(resumed, directory.path() / "resumed.safetensors");
  EXPECT_EQ(read_file(directory.path() / "whole.safetensors"),
            read_file(directory.path() / "resumed.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(All, TrainableContext,
                         ::testing::Values("none", "text", "concat", "ict", "ict_wocot", "mean",
                                           "kar"),
                         [](const auto& entry) { return entry.param; });

TEST(TrainableCtr, SameSeedSameNumbersOtherSeedOthers) {
  const ToyWorld world;
  const auto first_loss = [&](uint64_t seed) {
    return make(world, ToyWorld::options("ict"), seed).train_step(ToyWorld::batch(1)).total;
  };
  EXPECT_EQ(first_loss(1), first_loss(1));
  EXPECT_NE(first_loss(1), first_loss(2));
}

TEST(TrainableCtr, PredictsProbabilitiesOfItsLogits) {
  const ToyWorld world;
  TrainableCtr model = make(world, ToyWorld::options("ict"));
  const Prediction prediction = model.predict(ToyWorld::batch(3));
  ASSERT_EQ(prediction.logits.size(), 16U);
  for (size_t b = 0; b < 16; ++b)
    EXPECT_NEAR(prediction.probabilities[b], 1 / (1 + std::exp(-prediction.logits[b])), 1e-6);
}

// A prediction between steps reads current rows and disturbs nothing.
TEST(TrainableCtr, PredictingChangesNothing) {
  const ToyWorld world;
  TrainableCtr one = make(world, ToyWorld::options()), two = make(world, ToyWorld::options());
  for (uint64_t step = 0; step < 6; ++step) {
    one.predict(ToyWorld::batch(step + 50));
    EXPECT_EQ(one.train_step(ToyWorld::batch(step)).total,
              two.train_step(ToyWorld::batch(step)).total);
  }
}

TEST(TrainableCtr, PaddingRowsStayZero) {
  const ToyWorld world;
  const TemporaryDirectory directory;
  TrainableCtr model = make(world, ToyWorld::options("ict"));
  for (uint64_t step = 0; step < 5; ++step)
    model.train_step(ToyWorld::batch(step));
  save(model, directory.path() / "model.safetensors");
  const SafetensorsReader reader(directory.path() / "model.safetensors");
  for (const char* table : {"user_id", "item_id", "brand", "category"}) {
    const auto rows = reader.get<float>(std::string("tables.") + table, {-1, 8});
    for (size_t i = 0; i < 8; ++i)
      EXPECT_EQ(rows[i], 0.0F);
    EXPECT_EQ(reader.get<float>(std::string("first_order.") + table, {-1, 1})[0], 0.0F);
  }
  EXPECT_FALSE(reader.contains("item_text"));
}

TEST(TrainableCtr, ALossThatIsNotFiniteUpdatesNothing) {
  const ToyWorld world;
  TrainableCtr model = make(world, ToyWorld::options("ict"));
  const Batch good = ToyWorld::batch(1);
  Batch bad = good;
  bad.history_text[0] = std::numeric_limits<float>::quiet_NaN();
  const Prediction before = model.predict(good);
  EXPECT_FALSE(model.train_step(bad).finite());
  EXPECT_EQ(model.steps(), 0);
  EXPECT_EQ(model.predict(good).logits, before.logits);
}

TEST(TrainableCtr, DistillationNeedsATeacher) {
  const ToyWorld world;
  ModelOptions options = ToyWorld::options();
  options.distillation_weight = 0.5;
  TrainableCtr model = make(world, options);
  Batch batch = ToyWorld::batch(1);
  const StepLosses losses = model.evaluate_loss(batch);
  EXPECT_NEAR(losses.total, losses.click + 0.5 * losses.distillation, 1e-5);
  EXPECT_GT(losses.distillation, 0.0);
  batch.teacher_logits.clear();
  EXPECT_THROW(model.train_step(batch), Error);
}

TEST(TrainableCtr, NamesWhatTheDataLacks) {
  const ToyWorld world;
  EXPECT_THROW(TrainableCtr(ToyWorld::spec(), ToyWorld::options("ict"), {}, {}, 1), Error);
  FeatureSpec plain = ToyWorld::spec();
  plain.kar_dim = 0;
  EXPECT_THROW(TrainableCtr(plain, ToyWorld::options("kar"), {}, world.frozen(), 1), Error);
}

TEST(TrainableCtr, AFileOfAnotherShapeIsNamed) {
  const ToyWorld world;
  const TemporaryDirectory directory;
  TrainableCtr model = make(world, ToyWorld::options());
  save(model, directory.path() / "model.safetensors");
  TrainableCtr other = make(world, ToyWorld::options("text"));
  EXPECT_THROW(other.load_state(SafetensorsReader(directory.path() / "model.safetensors")),
               InputError);
}

// The tower's ReLU can only raise the score; it is a switch of the protocol and a key of its own.
TEST(ModelOptions, APaperSwitchOfABackboneIsAKeyToo) {
  const ToyWorld world;
  const auto logits = [&](const std::string& protocol, const std::string& section) {
    const auto options = ModelOptions::from(
        Config::parse("{backbone: xdeepfm, embed_dim: 8, mlp: [12, 6], linear_bias: trained, "
                      "padding: zero, xdeepfm: {cin: [4, 4]" +
                      section + "}}"),
        protocol);
    return make(world, options).predict(ToyWorld::batch(1)).logits;
  };
  const auto strict = logits("strict", ""), paper = logits("paper", "");
  EXPECT_NE(strict, paper);
  EXPECT_EQ(logits("strict", ", relu_on_logit: true"), paper);
  EXPECT_EQ(logits("paper", ", relu_on_logit: false"), strict);
  for (size_t b = 0; b < strict.size(); ++b)
    EXPECT_GE(paper[b], strict[b] - 1e-6F);
}

class BadSection : public ::testing::TestWithParam<const char*> {};

TEST_P(BadSection, IsAnError) {
  EXPECT_THROW(ModelOptions::from(Config::parse(GetParam()), "strict"), InputError);
}

INSTANTIATE_TEST_SUITE_P(All, BadSection,
                         ::testing::Values("xdeepfm: {cin: [3, 4]}", "xdeepfm: {cin: []}",
                                           "xdeepfm: {cins: [4]}",
                                           "autoint: {attention_width: 10, heads: 3}",
                                           "autoint: {layers: 0}", "dcn: {cross_layers: 0}",
                                           "dcn: {context_layer: relu}", "dcnv2: {rank: 0}",
                                           "dcnv2: {expert: 4}", "din: {attention: [0]}",
                                           "din: {last_attention_activation: gelu}"));

// As published: what KAR gives enters DCN as it is, what examples give passes a layer first.
TEST(ModelOptions, DcnPutsALayerInFrontOfTheContextOfExamplesOnly) {
  const ToyWorld world;
  const auto parameters = [&](const std::string& context, const std::string& layer) {
    ModelOptions options = ToyWorld::options(context, "dcn");
    if (!layer.empty()) options.backbone_options = Config::parse("context_layer: " + layer);
    return make(world, options).parameters();
  };
  EXPECT_EQ(parameters("ict", ""), parameters("ict", "gelu"));
  EXPECT_EQ(parameters("kar", ""), parameters("kar", "none"));
  EXPECT_EQ(parameters("ict", "gelu") - parameters("ict", "none"), 8 * 8 + 8);
}

TEST(ModelOptions, CrossWeightsStartAsSpreadAsAsked) {
  const ToyWorld world;
  const auto deviation = [&](const std::string& backbone, const std::string& tensor,
                             const std::string& section) {
    ModelOptions options = ToyWorld::options("none", backbone);
    options.backbone_options = Config::parse(section);
    const TemporaryDirectory directory;
    TrainableCtr model = make(world, options);
    save(model, directory.path() / "model.safetensors");
    const SafetensorsReader reader(directory.path() / "model.safetensors");
    const auto values = reader.get<float>(tensor, reader.tensor(tensor).shape);
    double squares = 0;
    for (const float value : values)
      squares += static_cast<double>(value) * value;
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  for (const auto& [backbone, tensor] :
       {std::pair{"dcn", "backbone.cross_weight"}, std::pair{"dcnv2", "backbone.u"}}) {
    EXPECT_NEAR(deviation(backbone, tensor, ""), 1.0, 0.2);
    EXPECT_NEAR(deviation(backbone, tensor, "cross_init_deviation: 0.05"), 0.05, 0.01);
  }
}

TEST(ModelOptions, TheModuleSetsTheDefaultsOfWhatItIsTold) {
  const auto read = [](const std::string& text, const std::string& protocol = "strict") {
    return ModelOptions::from(Config::parse(text), protocol);
  };
  const ModelOptions told = read("context: ict");
  EXPECT_TRUE(told.ict_evidence && told.ict_merged && told.ict_residual && told.alignment);
  EXPECT_EQ(told.ict_layers, 1);
  EXPECT_FALSE(told.ict_own_cot_map);
  EXPECT_TRUE(read("{context: ict, ict: {cot_map: own}}").ict_own_cot_map);
  EXPECT_FALSE(read("{context: ict_wocot, ict: {cot_map: own}}").ict_own_cot_map);
  for (const ModelOptions& published :
       {read("context: ict", "paper"), read("{context: ict, ict: {module: published}}")}) {
    EXPECT_FALSE(published.ict_evidence || published.ict_merged || published.ict_residual ||
                 published.alignment);
    EXPECT_EQ(published.ict_layers, 2);
  }
  EXPECT_FALSE(read("{context: ict, alignment: false, ict: {evidence: false}}").alignment);
  EXPECT_FALSE(read("{context: ict, ict: {evidence: false}}").ict_evidence);
  EXPECT_TRUE(read("{context: ict, ict: {evidence: false}}").ict_merged);
  for (const char* context : {"none", "text", "concat", "kar"})
    EXPECT_FALSE(read(std::string("context: ") + context).alignment) << context;
  EXPECT_TRUE(read("{context: text, alignment: true}").alignment);
  EXPECT_FALSE(uses_retrieval(read("context: text")));
  EXPECT_TRUE(uses_retrieval(read("{context: text, alignment: true}")));
}

TEST(ModelOptions, UnknownKeysAndNamesAreErrors) {
  const auto read = [](const std::string& text) {
    return ModelOptions::from(Config::parse(text), "strict");
  };
  EXPECT_THROW(read("embed_dmi: 8"), InputError);
  EXPECT_THROW(read("backbone: depfm"), InputError);
  EXPECT_THROW(read("deepfm: {layers: 3}"), InputError);
  EXPECT_THROW(read("ict: {head: 2}"), InputError);
  EXPECT_THROW(read("{text_map: [16], token_map: [32]}"), InputError);
  EXPECT_THROW(read("{backbone: deepfm, din: {attention: []}}"), InputError);
  EXPECT_NO_THROW(read("{backbone: deepfm, din: {attention: [8]}}"));  // for another variant
  EXPECT_EQ(read("context: ict").context, ContextKind::kIct);
  EXPECT_TRUE(ModelOptions::from(Config::parse(""), "paper").loss_on_probabilities);
  EXPECT_FALSE(read("").decays_padding);
}

}  // namespace
}  // namespace llmcf::models
