// The distillation term: whom it counts.
#include "models/objective.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ops/from_blob.h>

#include <gtest/gtest.h>

namespace llmcf::models {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

struct Outcome {
  Losses losses;
  std::vector<float> slopes;
};

Outcome run(std::vector<float> logits, const std::vector<float>& labels,
            const std::vector<float>& teacher, double weight = 0.5) {
  torch::Tensor leaf =
      at::from_blob(logits.data(), {static_cast<int64_t>(logits.size())}, at::kFloat)
          .clone()
          .requires_grad_(true);
  Outcome outcome;
  outcome.losses = objective({.distillation_weight = weight}, leaf, labels, teacher, {});
  outcome.losses.total.backward();
  const auto* slopes = leaf.grad().data_ptr<float>();
  outcome.slopes.assign(slopes, slopes + logits.size());
  return outcome;
}

TEST(Objective, RowsWithoutATeacherOnlyClick) {
  const std::vector<float> labels = {1, 0, 1};
  const Outcome none = run({0.3F, -0.2F, 1.0F}, labels, std::vector<float>(6, kNone));
  const Outcome plain = run({0.3F, -0.2F, 1.0F}, labels, {}, 0);
  EXPECT_EQ(none.losses.distillation, 0);
  EXPECT_EQ(none.losses.total.item<double>(), plain.losses.total.item<double>());
  EXPECT_EQ(none.slopes, plain.slopes);
}

TEST(Objective, DistillationIsTheMeanOverTaughtRows) {
  const std::vector<float> labels = {1, 0, 1};
  const Outcome some = run({0.3F, -0.2F, 1.0F}, labels, {kNone, kNone, 0.4F, -0.4F, kNone, kNone});
  const Outcome alone = run({-0.2F}, {0}, {0.4F, -0.4F});
  const Outcome plain = run({0.3F, -0.2F, 1.0F}, labels, {}, 0);
  EXPECT_NEAR(some.losses.distillation, alone.losses.distillation, 1e-9);
  const double target = 1 / (1 + std::exp(-0.8)), p = 1 / (1 + std::exp(0.2));
  EXPECT_NEAR(some.slopes[1] - plain.slopes[1], 0.5 * (p - target), 1e-6);
  EXPECT_EQ(some.slopes[0], plain.slopes[0]);
  EXPECT_EQ(some.slopes[2], plain.slopes[2]);
}

}  // namespace
}  // namespace llmcf::models
