// The sparse optimisers against libtorch's dense Adam, and their state.
#include "nn/optimizer.h"

#include <algorithm>
#include <cstring>

#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <torch/optim/adam.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/embedding.h"

namespace llmcf::nn {
namespace {

std::vector<int32_t> some_rows(Random& random, int64_t rows, uint64_t most) {
  std::vector<int32_t> chosen;
  for (uint64_t i = 1 + random.below(most); i > 0; --i)
    chosen.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(rows))));
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

torch::Tensor some_gradient(Random& random, size_t rows, int64_t width) {
  torch::Tensor gradient = at::zeros({static_cast<int64_t>(rows), width});
  fill_normal(gradient, 0.1, random);
  return gradient;
}

// A table of 60 rows; the first 40 are drawn now and then, the rest never.
struct World {
  explicit World(const OptimizerOptions& options, int64_t width = 33)
      : table("t", 60, width - 1, true), dense(at::zeros({7, 5}).set_requires_grad(true)) {
    table.initialise(InitKind::kDefault, 3, false);
    optimizer = std::make_unique<Optimizer>(options, std::vector<NamedTensor>{{"dense", dense}},
                                            std::vector<EmbeddingTable*>{&table});
  }

  // Gathers, pretends a backward pass, steps.
  void step(Random& random) {
    const auto rows = some_rows(random, 40, 6);
    SlabGradient slab{.rows = &rows, .slab = table.gather(rows, true)};
    slab.slab.mutable_grad() = some_gradient(random, rows.size(), table.width());
    optimizer->step({slab});
  }

  EmbeddingTable table;
  torch::Tensor dense;
  std::unique_ptr<Optimizer> optimizer;
};

TEST(DenseEquivalentAdam, FollowsDenseAdamOver2000SparseSteps) {
  const OptimizerOptions options{.learning_rate = 0.01, .weight_decay = 1e-4};
  World world(options);
  torch::Tensor twin = world.table.values().clone().set_requires_grad(true);
  torch::optim::Adam adam({twin}, torch::optim::AdamOptions(0.01).weight_decay(1e-4));
  Random random(5, "steps");
  double worst = 0;
  for (int step = 0; step < 2000; ++step) {
    const auto rows = some_rows(random, 40, 6);
    SlabGradient slab{.rows = &rows, .slab = world.table.gather(rows, true)};
    const torch::Tensor gradient = some_gradient(random, rows.size(), world.table.width());
    torch::Tensor spread = at::zeros(twin.sizes());
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      // What the forward pass reads is what dense Adam holds.
      worst = std::max(worst, (slab.slab[at] - twin[rows[i]]).abs().max().item<double>());
      spread[rows[i]] = gradient[at];
    }
    slab.slab.mutable_grad() = gradient;
    world.optimizer->step({slab});
    twin.mutable_grad() = spread;
    adam.step();
  }
  world.optimizer->flush();
  EXPECT_LE(worst, 1e-5);
  EXPECT_LE((world.table.values() - twin).abs().max().item<double>(), 1e-5);
}

TEST(DenseEquivalentAdam, FollowsALearningRateThatChanges) {
  World world({.learning_rate = 0.01, .weight_decay = 1e-2}, 6);
  torch::Tensor twin = world.table.values().clone().set_requires_grad(true);
  torch::optim::Adam adam({twin}, torch::optim::AdamOptions(0.01).weight_decay(1e-2));
  for (int step = 0; step < 50; ++step) {
    const double rate = 0.01 / (1 + step);
    const std::vector<int32_t> rows = {0};
    SlabGradient slab{.rows = &rows, .slab = world.table.gather(rows, true)};
    slab.slab.mutable_grad() = at::zeros({1, 6});
    world.optimizer->set_learning_rate(rate);
    world.optimizer->step({slab});
    static_cast<torch::optim::AdamOptions&>(adam.param_groups()[0].options()).lr(rate);
    twin.mutable_grad() = at::zeros(twin.sizes());
    adam.step();
  }
  world.optimizer->flush();
  EXPECT_LE((world.table.values() - twin).abs().max().item<double>(), 1e-6);
}

TEST(DenseEquivalentAdam, MovesDenseParametersAsTorchDoes) {
  World world({.learning_rate = 0.01, .weight_decay = 1e-4});
  torch::Tensor twin = world.dense.detach().clone().set_requires_grad(true);
  torch::optim::Adam adam({twin}, torch::optim::AdamOptions(0.01).weight_decay(1e-4));
  Random random(6, "dense");
  for (int step = 0; step < 300; ++step) {
    const torch::Tensor gradient = some_gradient(random, 7, 5);
    world.dense.mutable_grad() = gradient.clone();
    twin.mutable_grad() = gradient;
    world.optimizer->step({SlabGradient{}});
    adam.step();
  }
  EXPECT_LE((world.dense - twin).abs().max().item<double>(), 1e-6);
}

TEST(DenseEquivalentAdam, LeavesAZeroRowExactlyZero) {
  World world({.weight_decay = 1e-2});
  world.table.values()[50].zero_();
  Random random(7, "zero");
  for (int step = 0; step < 100; ++step)
    world.step(random);
  world.optimizer->flush();
  EXPECT_EQ(world.table.values()[50].abs().max().item<float>(), 0.0F);
}

TEST(DenseEquivalentAdam, ForgetsARowThatDied) {
  World world({.learning_rate = 0.01, .weight_decay = 1e-2});
  Random random(8, "dead");
  for (int step = 0; step < 4000; ++step)
    world.step(random);
  world.optimizer->flush();
  EXPECT_LE(world.table.values()[55].abs().max().item<float>(), 1e-6F);
}

class OptimizerKind : public ::testing::TestWithParam<const char*> {};

TEST_P(OptimizerKind, ContinuesBitForBitFromSavedState) {
  const OptimizerOptions options{.kind = GetParam(), .learning_rate = 0.02};
  World whole(options), first(options), second(options);
  Random random(9, "resume"), same(9, "resume");
  for (int step = 0; step < 40; ++step) {
    whole.step(random);
    if (step == 19) whole.optimizer->flush();
    (step < 20 ? first : second).step(same);
    if (step != 19) continue;
    const auto saved = first.optimizer->state();
    second.table.values().copy_(first.table.values());
    second.optimizer->load_state(first.optimizer->steps(), [&](const NamedTensor& entry) {
      for (const auto& [name, tensor] : saved)
        if (name == entry.first) entry.second.copy_(tensor);
    });
  }
  whole.optimizer->flush();
  second.optimizer->flush();
  EXPECT_EQ(second.optimizer->steps(), 40);
  EXPECT_TRUE(whole.table.values().equal(second.table.values()));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerKind,
                         ::testing::Values("adam", "adamw_sparse", "rowwise_adagrad"),
                         [](const auto& entry) { return std::string(entry.param); });

TEST(SparseKinds, MoveOnlyTheRowsOfTheBatch) {
  for (const char* kind : {"adamw_sparse", "rowwise_adagrad"}) {
    World world({.kind = kind});
    const torch::Tensor before = world.table.values().clone();
    Random random(10, "sparse");
    for (int step = 0; step < 30; ++step)
      world.step(random);
    world.optimizer->flush();
    const torch::Tensor moved = (world.table.values() - before).abs().sum(1);
    EXPECT_GT(moved.narrow(0, 0, 40).sum().item<float>(), 0.0F) << kind;
    EXPECT_EQ(moved.narrow(0, 40, 20).sum().item<float>(), 0.0F) << kind;
  }
}

TEST(OptimizerOptions, NamesTheKnownKinds) {
  EXPECT_THROW(OptimizerOptions::from(Config::parse("optimizer: adm")), InputError);
  EXPECT_EQ(OptimizerOptions::from(Config::parse("learning_rate: 0.5")).learning_rate, 0.5);
}

TEST(EmbeddingTable, NamesARowOutOfRange) {
  EmbeddingTable table("brand", 5, 2, false);
  EXPECT_THROW(table.gather({1, 5}, false), Error);
  EXPECT_EQ(table.gather({}, false).size(0), 0);
}

}  // namespace
}  // namespace llmcf::nn
