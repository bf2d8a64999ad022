// What every backbone and every context source must do; a new backbone is tested by existing.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/random.h"
#include "models/model.h"
#include "models/recommender.h"
#include "models/toy_batch.h"
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

class Backbone : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int64_t kFields = 7, kDim = 8;

  std::shared_ptr<CtrModel> make(int64_t context_dim) const {
    BackboneSpec spec{.num_fields = kFields,
                      .embed_dim = kDim,
                      .context_dim = context_dim,
                      .roles = {},
                      .mlp = {12, 6}};
    for (const FieldSpec& field : ToyWorld::spec().fields)
      spec.roles.push_back(field.role);
    auto model = ctr_model(GetParam()).make(Config::parse(""), spec);
    nn::initialise(*model, nn::InitKind::kDefault, 1, "");
    return model;
  }

  static Features features(int64_t rows, int64_t context_dim) {
    return {.fields = normal({rows, kFields, kDim}, "fields"),
            .first_order = normal({rows}, "first"),
            .context = context_dim > 0 ? normal({rows, context_dim}, "context") : torch::Tensor()};
  }

  nn::DropoutScope dropout_{1, 0};
};

TEST_P(Backbone, GivesOneLogitPerRowWithAndWithoutContext) {
  for (const int64_t context_dim : {int64_t{0}, kDim})
    for (const int64_t rows : {1, 9}) {
      auto model = make(context_dim);
      model->eval();
      const torch::Tensor logits = model->forward(features(rows, context_dim));
      EXPECT_EQ(logits.sizes(), at::IntArrayRef({rows}));
      EXPECT_TRUE(logits.isfinite().all().item<bool>());
    }
}

TEST_P(Backbone, GradientReachesEveryParameterAndInput) {
  auto model = make(kDim);
  model->train();
  Features seen = features(64, kDim);
  seen.fields.set_requires_grad(true);
  seen.context.set_requires_grad(true);
  model->forward(seen).pow(2).sum().backward();
  for (const auto& entry : model->named_parameters()) {
    ASSERT_TRUE(entry.value().grad().defined()) << entry.key();
    EXPECT_GT(entry.value().grad().abs().sum().item<float>(), 0.0F) << entry.key();
  }
  EXPECT_GT(seen.fields.grad().abs().sum().item<float>(), 0.0F);
  EXPECT_GT(seen.context.grad().abs().sum().item<float>(), 0.0F);
}

TEST_P(Backbone, RowsDoNotSeeEachOtherInEvaluation) {
  auto model = make(kDim);
  model->eval();
  const Features all = features(9, kDim);
  const Features one{.fields = all.fields.narrow(0, 4, 1),
                     .first_order = all.first_order.narrow(0, 4, 1),
                     .context = all.context.narrow(0, 4, 1)};
  EXPECT_NEAR(model->forward(all)[4].item<float>(), model->forward(one)[0].item<float>(), 1e-4F);
}

INSTANTIATE_TEST_SUITE_P(All, Backbone, ::testing::ValuesIn(backbone_names()),
                         [](const auto& entry) { return entry.param; });

class Context : public ::testing::TestWithParam<std::string> {};

TEST_P(Context, GradientReachesEveryParameterAndTable) {
  const ToyWorld world;
  Recommender model(ToyWorld::spec(), ToyWorld::options(GetParam()), world.frozen(), 1);
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

TEST_P(Context, RunsOnABatchWithoutExamples) {
  const ToyWorld world;
  Recommender model(ToyWorld::spec(), ToyWorld::options(GetParam()), world.frozen(), 1);
  Batch batch = ToyWorld::batch(2, 5, 0);
  const nn::DropoutScope scope(1, 0);
  const Losses losses = model.loss(batch);
  losses.total.backward();
  EXPECT_TRUE(losses.total.isfinite().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(All, Context,
                         ::testing::Values("none", "text", "concat", "ict", "ict_wocot", "mean",
                                           "kar"),
                         [](const auto& entry) { return entry.param; });

}  // namespace
}  // namespace llmcf::models
