// What every backbone and every context source must do; a new backbone is tested by existing.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/files.h"
#include "core/random.h"
#include "models/model.h"
#include "models/recommender.h"
#include "models/toy_batch.h"
#include "models/trainable_ctr.h"
#include "nn/dropout.h"

namespace llmcf::models {
namespace {

using testing::ToyWorld;

torch::Tensor normal(at::IntArrayRef shape, const char* stream) {
  torch::Tensor values = at::zeros(shape);
  Random random(1, stream);
  nn::fill_normal(values, 1.0, random);
  return values;
}

// The toy world's seven fields; or another schema: no brand, a numeric and a context field, one
// user feature more, and item ids alone in the histories.
std::vector<FieldRole> roles(bool other) {
  using enum FieldRole;
  if (other) return {kUser, kUser, kItem, kItem, kContext, kHistory};
  return {kUser, kItem, kItem, kItem, kHistory, kHistory, kHistory};
}

class Backbone : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int64_t kDim = 8;

  std::shared_ptr<CtrModel> make(int64_t context_dim, bool other = false) const {
    const BackboneSpec spec{.num_fields = static_cast<int64_t>(roles(other).size()),
                            .embed_dim = kDim,
                            .context_dim = context_dim,
                            .roles = roles(other),
                            .sequence_fields = sequence(other),
                            .mlp = {12, 6}};
    auto model = ctr_model(GetParam()).make(Config::parse(""), {}, spec);
    torch::nn::Module root;
    root.register_module("backbone", std::static_pointer_cast<torch::nn::Module>(model));
    nn::initialise(root, nn::InitKind::kDefault, 1, "");
    return model;
  }

  static std::vector<int> sequence(bool other) {
    return other ? std::vector<int>{2} : std::vector<int>{1, 2, 3};
  }

  // Row b saw b % 4 items of five.
  Features features(int64_t rows, int64_t context_dim, bool other = false) {
    offsets_ = {0};
    events_.clear();
    for (int64_t b = 0; b < rows; ++b) {
      for (int64_t e = 0; e < b % 4; ++e)
        events_.push_back(static_cast<int32_t>((b + 2 * e) % 5));
      offsets_.push_back(static_cast<int32_t>(events_.size()));
    }
    const auto fields = static_cast<int64_t>(roles(other).size());
    const auto carried = static_cast<int64_t>(sequence(other).size());
    return {.fields = normal({rows, fields, kDim}, "fields"),
            .first_order = normal({rows}, "first"),
            .context = context_dim > 0 ? normal({rows, context_dim}, "context") : torch::Tensor(),
            .history_items = normal({5, carried, kDim}, "items"),
            .history = nn::Histories::of(offsets_, events_)};
  }

  nn::DropoutScope dropout_{1, 0};
  std::vector<int32_t> offsets_, events_;
};

TEST_P(Backbone, GivesOneLogitPerRowWhateverTheSchemaAndTheContext) {
  for (const bool other : {false, true})
    for (const int64_t context_dim : {int64_t{0}, kDim, int64_t{5}})
      for (const int64_t rows : {1, 9}) {
        auto model = make(context_dim, other);
        model->eval();
        const torch::Tensor logits = model->forward(features(rows, context_dim, other));
        EXPECT_EQ(logits.sizes(), at::IntArrayRef({rows}));
        EXPECT_TRUE(logits.isfinite().all().item<bool>());
      }
}

TEST_P(Backbone, TrainsOnABatchOfOneRow) {
  auto model = make(kDim);
  model->train();
  model->forward(features(1, kDim)).sum().backward();
  for (const auto& entry : model->named_parameters()) {
    ASSERT_TRUE(entry.value().grad().defined()) << entry.key();
    EXPECT_TRUE(entry.value().grad().isfinite().all().item<bool>()) << entry.key();
  }
}

TEST_P(Backbone, GradientReachesEveryParameterAndInput) {
  for (const int64_t context_dim : {kDim, int64_t{5}}) {
    auto model = make(context_dim);
    model->train();
    Features seen = features(64, context_dim);
    std::vector<torch::Tensor> inputs = {seen.fields, seen.context};
    if (ctr_model(GetParam()).needs.history) inputs.push_back(seen.history_items);
    for (torch::Tensor& input : inputs)
      input.set_requires_grad(true);
    model->forward(seen).pow(2).sum().backward();
    for (const auto& entry : model->named_parameters()) {
      ASSERT_TRUE(entry.value().grad().defined()) << entry.key();
      EXPECT_GT(entry.value().grad().abs().sum().item<float>(), 0.0F) << entry.key();
    }
    for (const torch::Tensor& input : inputs)
      EXPECT_GT(input.grad().abs().sum().item<float>(), 0.0F);
  }
}

TEST_P(Backbone, RowsDoNotSeeEachOtherInEvaluation) {
  auto model = make(kDim);
  model->eval();
  const Features all = features(9, kDim);
  const std::vector<int32_t> offsets = {0, 2};
  const std::vector<int32_t> events(events_.begin() + offsets_[6], events_.begin() + offsets_[7]);
  const Features one{.fields = all.fields.narrow(0, 6, 1),
                     .first_order = all.first_order.narrow(0, 6, 1),
                     .context = all.context.narrow(0, 6, 1),
                     .history_items = all.history_items,
                     .history = nn::Histories::of(offsets, events)};
  EXPECT_NEAR(model->forward(all)[6].item<float>(), model->forward(one)[0].item<float>(), 1e-4F);
}

INSTANTIATE_TEST_SUITE_P(All, Backbone, ::testing::ValuesIn(backbone_names()),
                         [](const auto& entry) { return entry.param; });

// Every backbone with every context source.
class Composition : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  static ModelOptions options() {
    const auto& [backbone, context] = GetParam();
    if (context == "told")  // what goes beyond the paper
      return ToyWorld::options("ict, alignment: true", backbone,
                               ", evidence: true, tokens: merged, layers: 1");
    return ToyWorld::options(context, backbone);
  }
};

TEST_P(Composition, GradientReachesEveryParameterAndTable) {
  const ToyWorld world;
  Recommender model(ToyWorld::spec(), options(), world.frozen(), 1);
  const Batch batch = ToyWorld::batch(1, 64);
  const nn::DropoutScope scope(1, 0);
  model.train();
  model.loss(batch).total.backward();
  for (const auto& [name, parameter] : model.dense_parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_GT(parameter.grad().abs().sum().item<float>(), 0.0F) << name;
  }
  for (const nn::SlabGradient& slab : model.slab_gradients())
    EXPECT_GT(slab.slab.grad().abs().sum().item<float>(), 0.0F);
}

TEST_P(Composition, RunsOnABatchWithoutExamples) {
  const ToyWorld world;
  Recommender model(ToyWorld::spec(), options(), world.frozen(), 1);
  Batch batch = ToyWorld::batch(2, 5, 0);
  const nn::DropoutScope scope(1, 0);
  const Losses losses = model.loss(batch);
  losses.total.backward();
  EXPECT_TRUE(losses.total.isfinite().item<bool>());
}

TEST_P(Composition, LearnsAndKeepsPaddingZero) {
  const ToyWorld world;
  ModelOptions strict = options();
  strict.distillation_weight = 0.1;
  TrainableCtr model(ToyWorld::spec(), strict, {.learning_rate = 0.01}, world.frozen(), 1);
  const Batch batch = ToyWorld::batch(1, 32);
  const double before = model.evaluate_loss(batch).total;
  for (int step = 0; step < 25; ++step)
    ASSERT_TRUE(model.train_step(batch).finite());
  EXPECT_LT(model.evaluate_loss(batch).total, before);
  SafetensorsWriter writer;
  model.add_state(writer);
  const TemporaryDirectory directory;
  writer.write(directory.path() / "model.safetensors");
  const SafetensorsReader reader(directory.path() / "model.safetensors");
  for (const TableSpec& table : ToyWorld::spec().tables)
    for (const float value : reader.get<float>("tables." + table.name, {-1, 8}).first(8))
      EXPECT_EQ(value, 0.0F) << table.name;
}

INSTANTIATE_TEST_SUITE_P(All, Composition,
                         ::testing::Combine(::testing::ValuesIn(backbone_names()),
                                            ::testing::Values("none", "text", "concat", "ict",
                                                              "ict_wocot", "mean", "kar", "told")),
                         [](const auto& entry) {
                           return std::get<0>(entry.param) + "_" + std::get<1>(entry.param);
                         });

}  // namespace
}  // namespace llmcf::models
