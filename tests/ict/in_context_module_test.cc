// The in-context module: what masking, sharing and skipping must not change.
#include "ict/in_context_module.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "ict/reconstruction.h"

namespace llmcf::ict {
namespace {

torch::Tensor normal(at::IntArrayRef shape, const char* stream) {
  torch::Tensor values = at::zeros(shape);
  Random random(1, stream);
  nn::fill_normal(values, 1.0, random);
  return values;
}

// 3 queries, 4 examples, K = 2, P = 10, d = 8, W = 6.
InContextInput input(const std::vector<int32_t>& slot, int64_t slots) {
  return {
      .parts = normal({7, 10}, "parts"),
      .text = normal({9, 8}, "text"),
      .cot_row = 5,
      .frozen_cot = normal({4, 6}, "cot"),
      .slots = {at::tensor(slot, at::kInt).view({3, slots}), at::tensor({1, 0, 1, 0}, at::kInt)}};
}

InContextModule module(InContextOptions options = {}) {
  options.parts_width = 10;
  options.token_map = {12, 8};
  InContextModule made(options);
  nn::initialise(*made, nn::InitKind::kDefault, 3, "");
  Random random(3, "label");
  const torch::NoGradGuard no_gradients;
  made->initialise(nn::InitKind::kDefault, random);
  return made;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(InContextModule, ReadsAQueryWithoutExamplesAlone) {
  InContextModule ict = module();
  const torch::Tensor masked =
      ict->forward(input({-1, -1, 0, 1, -1, 2}, 2)).context;  // query 0 has no example
  InContextInput alone = input({0, 0, 0}, 1);
  alone.slots.slot = at::empty({3, 0}, at::kInt);
  EXPECT_LE(distance(masked[0], ict->forward(alone).context[0]), 1e-5);
  EXPECT_GT(distance(masked[1], ict->forward(alone).context[1]), 1e-3);
}

TEST(InContextModule, AMaskedSlotIsNoSlot) {
  InContextModule ict = module();
  const torch::Tensor padded = ict->forward(input({-1, 3, -1, 1, -1, 2}, 2)).context;
  const torch::Tensor shorter = ict->forward(input({3, 1, 2}, 1)).context;
  EXPECT_LE(distance(padded, shorter), 1e-5);
}

TEST(InContextModule, OrderAndLabelsOfExamplesMatter) {
  InContextModule ict = module();
  InContextInput one = input({0, 1, 2, 3, 0, 3}, 2);
  const torch::Tensor before = ict->forward(one).context;
  EXPECT_GT(distance(before, ict->forward(input({1, 0, 3, 2, 3, 0}, 2)).context), 1e-3);
  one.slots.label = at::tensor({0, 1, 0, 1}, at::kInt);
  EXPECT_GT(distance(before, ict->forward(one).context), 1e-3);
}

TEST(InContextModule, WithoutCotIgnoresTheChains) {
  InContextModule ict = module({.with_cot = false});
  InContextInput one = input({0, 1, 2, 3, 0, 3}, 2);
  const torch::Tensor before = ict->forward(one).context;
  one.text = torch::Tensor();
  EXPECT_EQ(distance(before, ict->forward(one).context), 0.0);
}

TEST(InContextModule, MeanIsTheMeanOfVisibleTokens) {
  InContextModule ict = module({.attends = false});
  const InContextInput one = input({-1, 1, -1, -1, 0, 3}, 2);
  const torch::Tensor f = ict->token_map->forward(one.parts);
  const torch::Tensor context = ict->forward(one).context;
  EXPECT_LE(distance(context[1], f[1]), 1e-6);
  EXPECT_LE(distance(context[0], (f[4] + one.text[6] + ict->label[0] + f[0]) / 4), 1e-6);
}

// Evidence of G = 2 features for the slots of input(): row b, slot k, in the half of the decision.
torch::Tensor evidence_for(const InContextInput& one) {
  const int64_t B = one.slots.queries(), K = one.slots.count();
  torch::Tensor values = at::zeros({B, K, 4});
  const torch::Tensor drawn = normal({B, K, 2}, "evidence");
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      const auto example = one.slots.slot[b][k].item<int32_t>();
      if (example < 0) continue;
      const int64_t half = one.slots.label[example].item<int32_t>();
      values[b][k].narrow(0, 2 * half, 2).copy_(drawn[b][k]);
    }
  }
  return values;
}

TEST(InContextModule, ResidualBeginsAtTheQuerysOwnToken) {
  InContextModule ict = module({.residual = true});
  const InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
  const torch::Tensor own = ict->token_map->forward(one.parts).narrow(0, 0, 3);
  EXPECT_EQ(distance(ict->forward(one).context, own), 0.0);
  const torch::NoGradGuard no_gradients;
  ict->gate.fill_(1.0);
  EXPECT_GT(distance(ict->forward(one).context, own), 1e-2);
}

TEST(InContextModule, EvidenceReachesEachQueryThroughItsOwnSlotsOnly) {
  for (const bool merged : {false, true}) {
    InContextModule ict = module({.evidence = 2, .merged = merged});
    InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
    one.evidence = evidence_for(one);
    const torch::Tensor before = ict->forward(one).context;
    one.evidence = one.evidence.clone();
    one.evidence[1][0].mul_(-3.0);
    const torch::Tensor after = ict->forward(one).context;
    EXPECT_EQ(distance(before[0], after[0]), 0.0);
    EXPECT_EQ(distance(before[2], after[2]), 0.0);
    EXPECT_GT(distance(before[1], after[1]), 1e-3);
    one.evidence = at::zeros({3, 2, 2});
    EXPECT_THROW(ict->forward(one), Error);
  }
}

TEST(InContextModule, AMergedExampleIsTheSumOfItsTokens) {
  InContextModule ict = module({.evidence = 2, .merged = true, .attends = false});
  InContextInput one = input({-1, 1, -1, -1, 0, 3}, 2);
  one.evidence = evidence_for(one);
  const torch::Tensor f = ict->token_map->forward(one.parts);
  const torch::Tensor told = at::linear(one.evidence, ict->evidence);
  const torch::Tensor context = ict->forward(one).context;
  EXPECT_LE(distance(context[1], f[1]), 1e-6);
  EXPECT_LE(distance(context[0], (f[4] + one.text[6] + ict->label[0] + told[0][1] + f[0]) / 2),
            1e-5);
}

TEST(InContextModule, GradientReachesEveryParameterOfEveryOption) {
  for (const bool merged : {false, true}) {
    InContextModule ict =
        module({.evidence = 2, .merged = merged, .residual = true, .reconstruction_map = {5, 6}});
    InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
    one.evidence = evidence_for(one);
    {
      const torch::NoGradGuard no_gradients;
      ict->gate.fill_(0.5);
    }
    const InContextOutput output = ict->forward(one);
    (output.context.sum() + output.reconstruction).backward();
    for (const auto& entry : ict->named_parameters())
      EXPECT_GT(entry.value().grad().abs().sum().item<float>(), 0.0F) << entry.key() << merged;
  }
}

// A merged token holds the chain of thought: predicting it from there would be no task.
TEST(InContextModule, AMergedExamplesChainIsPredictedWithoutSeeingIt) {
  InContextModule ict = module({.merged = true, .reconstruction_map = {5, 6}});
  InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
  const double before = ict->forward(one).reconstruction.item<double>();
  one.text = one.text * 3;
  EXPECT_EQ(ict->forward(one).reconstruction.item<double>(), before);
}

TEST(InContextModule, ReconstructsInTrainingOnly) {
  InContextModule ict = module({.reconstruction_map = {5, 6}});
  const InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
  const InContextOutput trained = ict->forward(one);
  ASSERT_TRUE(trained.reconstruction.defined());
  ict->eval();
  const InContextOutput evaluated = ict->forward(one);
  EXPECT_FALSE(evaluated.reconstruction.defined());
  EXPECT_LE(distance(trained.context, evaluated.context), 1e-5);
}

TEST(InContextModule, GradientReachesEveryParameterAndInput) {
  InContextModule ict = module({.reconstruction_map = {5, 6}});
  InContextInput one = input({-1, 1, 2, 3, 0, 3}, 2);
  one.parts.set_requires_grad(true);
  one.text.set_requires_grad(true);
  const InContextOutput output = ict->forward(one);
  (output.context.sum() + output.reconstruction).backward();
  for (const auto& entry : ict->named_parameters()) {
    ASSERT_TRUE(entry.value().grad().defined()) << entry.key();
    EXPECT_GT(entry.value().grad().abs().sum().item<float>(), 0.0F) << entry.key();
  }
  for (int64_t sample = 0; sample < 7; ++sample)
    EXPECT_GT(one.parts.grad()[sample].abs().sum().item<float>(), 0.0F) << sample;
  EXPECT_EQ(one.text.grad().narrow(0, 0, 5).abs().sum().item<float>(), 0.0F);
  EXPECT_GT(one.text.grad().narrow(0, 5, 4).abs().sum().item<float>(), 0.0F);
}

TEST(Slots, RejectAMaskBehindAUsedSlotAndAnUnknownExample) {
  EXPECT_THROW(check_slots(input({0, -1, 1, 1, 1, 1}, 2).slots), Error);
  EXPECT_THROW(check_slots(input({0, 4, 1, 1, 1, 1}, 2).slots), Error);
  EXPECT_NO_THROW(check_slots(input({-1, -1, -1, 0, 1, 1}, 2).slots));
}

TEST(ReconstructionLoss, IsOneMinusTheMeanCosineOfUsedSlots) {
  torch::Tensor r = normal({4, 6}, "r").set_requires_grad(true);
  torch::Tensor z = r.detach().clone().set_requires_grad(true);
  const torch::Tensor frozen = normal({3, 6}, "frozen");
  const torch::Tensor loss = reconstruction_loss(r, frozen, at::tensor({-1, 2, 0, 2}, at::kInt));
  const torch::Tensor targets = at::stack({frozen[2], frozen[0], frozen[2]});
  const torch::Tensor plain = 1 - at::cosine_similarity(z.narrow(0, 1, 3), targets, 1).mean();
  EXPECT_LE(distance(loss, plain), 1e-6);
  (2 * loss).backward();
  (2 * plain).backward();
  EXPECT_LE(distance(r.grad(), z.grad()), 1e-6);
}

TEST(ReconstructionLoss, IsZeroWithoutUsedSlots) {
  torch::Tensor r = normal({2, 6}, "r").set_requires_grad(true);
  const torch::Tensor loss =
      reconstruction_loss(r, normal({3, 6}, "frozen"), at::tensor({-1, -1}, at::kInt));
  loss.backward();
  EXPECT_EQ(loss.item<float>(), 0.0F);
  EXPECT_EQ(r.grad().abs().sum().item<float>(), 0.0F);
}

}  // namespace
}  // namespace llmcf::ict
