// Every recorded ranking case: forward, losses, gradients and five Adam steps meet what the public
// code did, within the tolerances of golden/README.md, under protocol paper. A recorded tensor that
// is compared with nothing is a failure.
#include <memory>

#include <ATen/core/grad_mode.h>

#include <gtest/gtest.h>

#include "models/golden_case.h"
#include "models/golden_compare.h"
#include "models/recommender.h"
#include "shared_data.h"

namespace llmcf::models {
namespace {

using testing::expect_outputs_near;
using testing::GoldenCase;

using Replica = testing::Replica<GoldenCase, Recommender, Batch>;

Replica replica_of(const GoldenCase& golden) {
  return {golden,
          std::make_unique<Recommender>(golden.spec(), golden.options(), golden.frozen(), 1),
          golden.batch()};
}

class GoldenRanking : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override { golden_ = std::make_unique<GoldenCase>(GetParam()); }
  std::unique_ptr<GoldenCase> golden_;
};

TEST_P(GoldenRanking, EveryRecordedParameterAndBufferHasAPlace) {
  const Replica run = replica_of(*golden_);
  run.expect_all_loaded();
}

TEST_P(GoldenRanking, ForwardMeetsTheRecording) {
  const torch::NoGradGuard no_gradients;
  Replica run = replica_of(*golden_);
  run.model->eval();
  run.model->always_reconstruct(true);
  const RecommenderOutput output = run.model->forward(run.batch);
  expect_outputs_near(output.logits.sigmoid(), golden_->tensor("out.prob"), "out.prob");
  if (golden_->has("out.ctx"))
    expect_outputs_near(output.context, golden_->tensor("out.ctx"), "out.ctx");
  if (!golden_->has("out.reconstruction_loss")) return;
  ASSERT_TRUE(output.reconstruction.defined());
  expect_outputs_near(output.reconstruction, golden_->tensor("out.reconstruction_loss"),
                      "out.reconstruction_loss");
}

TEST_P(GoldenRanking, GradientsMeetTheRecording) {
  Replica run = replica_of(*golden_);
  run.expect_gradients();
}

TEST_P(GoldenRanking, FiveAdamStepsMeetTheRecording) {
  Replica run = replica_of(*golden_);
  run.expect_steps();
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenRanking);
INSTANTIATE_TEST_SUITE_P(Recorded, GoldenRanking,
                         ::testing::ValuesIn(testing::recordings("ranking")),
                         [](const auto& entry) { return entry.param.stem().string(); });

TEST(GoldenRankingFolder, Exists) {
  LLMCF_REQUIRE_PATH(llmcf::testing::golden_directory() / "ranking");
  EXPECT_FALSE(testing::recordings("ranking").empty());
}

}  // namespace
}  // namespace llmcf::models
