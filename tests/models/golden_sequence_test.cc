// Every recorded retrieval case: states, the ten best items, losses, gradients and five Adam steps
// meet what the public code did, under protocol paper; SR-GNN meets its own authors' code.
#include <memory>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include <gtest/gtest.h>

#include "models/golden_compare.h"
#include "models/golden_sequence_case.h"
#include "models/sequence_recommender.h"
#include "shared_data.h"

namespace llmcf::models {
namespace {

using testing::expect_outputs_near;
using testing::GoldenSequenceCase;
using Replica = testing::Replica<GoldenSequenceCase, SequenceRecommender, SequenceBatch>;

std::vector<std::filesystem::path> cases() {
  auto paths = testing::recordings("retrieval");
  std::erase_if(paths, [](const auto& path) { return path.stem().string().starts_with("SRGNN"); });
  return paths;
}

class GoldenSequence : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override { golden_ = std::make_unique<GoldenSequenceCase>(GetParam()); }
  Replica replica() const {
    return {*golden_,
            std::make_unique<SequenceRecommender>(golden_->data(), golden_->options(),
                                                  golden_->frozen(), 1),
            golden_->batch()};
  }
  std::unique_ptr<GoldenSequenceCase> golden_;
};

TEST_P(GoldenSequence, EveryRecordedParameterHasAPlace) {
  replica().expect_all_loaded();
}

TEST_P(GoldenSequence, StatesAndBestItemsMeetTheRecording) {
  const torch::NoGradGuard no_gradients;
  Replica run = replica();
  run.model->eval();
  run.model->always_reconstruct(true);
  const SequenceRecommenderOutput output = run.model->forward(run.batch);
  expect_outputs_near(output.state, golden_->tensor("out.user"), "out.user");
  if (golden_->has("out.reconstruction_loss") && output.reconstruction.defined())
    expect_outputs_near(output.reconstruction, golden_->tensor("out.reconstruction_loss"),
                        "out.reconstruction_loss");
  const torch::Tensor items = run.model->item_vectors();
  const torch::Tensor scores = at::mm(output.state, items.t()).narrow(1, 1, items.size(0) - 1);
  const torch::Tensor best = std::get<1>(scores.topk(10, 1)) + 1;
  EXPECT_TRUE(best.to(at::kFloat).equal(golden_->tensor("out.top10"))) << best;
}

TEST_P(GoldenSequence, GradientsMeetTheRecording) {
  replica().expect_gradients();
}

TEST_P(GoldenSequence, FiveAdamStepsMeetTheRecording) {
  replica().expect_steps();
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenSequence);
INSTANTIATE_TEST_SUITE_P(Recorded, GoldenSequence, ::testing::ValuesIn(cases()),
                         [](const auto& entry) { return entry.param.stem().string(); });

TEST(GoldenSequenceFolder, Exists) {
  LLMCF_REQUIRE_PATH(llmcf::testing::golden_directory() / "retrieval");
  EXPECT_FALSE(cases().empty());
}

}  // namespace
}  // namespace llmcf::models
