// Every recorded ranking case whose backbone exists here: forward, loss, gradients and five Adam
// steps meet what the public code did, within the tolerances of golden/README.md, under protocol
// paper. Cases of other backbones are skipped by name.
#include <algorithm>
#include <cstring>
#include <set>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "models/golden_case.h"
#include "models/model.h"
#include "models/recommender.h"
#include "shared_data.h"

namespace llmcf::models {
namespace {

using testing::GoldenCase;

struct Deviation {
  double worst = 0;  // |a - b| / allowed
  double within = 1;
};

// How far `a` is from `b` in units of `allowed`, and the share of elements within one unit.
Deviation deviation(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& allowed) {
  const torch::Tensor ratio = (a - b).abs() / allowed;
  return {ratio.max().item<double>(), (ratio <= 1).to(at::kFloat).mean().item<double>()};
}

void expect_outputs_near(const torch::Tensor& a, const torch::Tensor& b, const std::string& what) {
  ASSERT_EQ(a.numel(), b.numel()) << what;
  const torch::Tensor flat = b.flatten();
  EXPECT_LE(deviation(a.flatten(), flat, 5e-5 * flat.abs().clamp_min(1)).worst, 1.0) << what;
}

void expect_gradient_near(const torch::Tensor& a, const torch::Tensor& b, const std::string& what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  const double allowed = 1e-4 * std::max(1.0, b.abs().max().item<double>());
  EXPECT_LE((a - b).abs().max().item<double>(), allowed) << what;
}

struct Replica {
  explicit Replica(const GoldenCase& golden)
      : model(golden.spec(), golden.options(), golden.frozen(), 1), batch(golden.batch()) {
    const torch::NoGradGuard no_gradients;
    model.load_state([&](const nn::NamedTensor& entry) {
      const std::string recorded = GoldenCase::recorded_name(entry.first);
      if (recorded.empty()) return;  // the fixed bias
      entry.second.copy_(golden.tensor("param." + recorded));
      loaded.insert("param." + recorded);
    });
  }
  Recommender model;
  Batch batch;
  std::set<std::string> loaded;
};

std::vector<std::filesystem::path> cases() {
  std::vector<std::filesystem::path> paths;
  const auto folder = llmcf::testing::golden_directory() / "ranking";
  if (!std::filesystem::exists(folder)) return paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool exists(const std::string& model) {
  const auto names = backbone_names();
  const auto found = testing::backbone_of().find(model);
  return found != testing::backbone_of().end() &&
         std::find(names.begin(), names.end(), found->second) != names.end();
}

class GoldenRanking : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override {
    golden_ = std::make_unique<GoldenCase>(GetParam());
    if (!exists(golden_->model())) GTEST_SKIP() << "no backbone for " << golden_->model();
  }
  std::unique_ptr<GoldenCase> golden_;
};

// Nothing of the recorded state that learns is left unread.
TEST_P(GoldenRanking, EveryRecordedParameterHasAPlace) {
  const Replica run(*golden_);
  for (const auto& [name, view] : golden_->reader().tensors()) {
    if (!name.starts_with("grad.")) continue;
    EXPECT_TRUE(run.loaded.contains("param." + name.substr(5))) << name;
  }
}

TEST_P(GoldenRanking, ForwardMeetsTheRecording) {
  const torch::NoGradGuard no_gradients;
  Replica run(*golden_);
  run.model.eval();
  run.model.always_reconstruct(true);
  const RecommenderOutput output = run.model.forward(run.batch);
  expect_outputs_near(output.logits.sigmoid(), golden_->tensor("out.prob"), "out.prob");
  if (golden_->has("out.ctx"))
    expect_outputs_near(output.context, golden_->tensor("out.ctx"), "out.ctx");
  if (golden_->has("out.reconstruction_loss") && output.reconstruction.defined())
    expect_outputs_near(output.reconstruction, golden_->tensor("out.reconstruction_loss"),
                        "out.reconstruction_loss");
}

// Slab gradients spread over the dense shape of their table.
torch::Tensor dense_gradient(const nn::SlabGradient& slab, int64_t rows) {
  torch::Tensor dense = at::zeros({rows, slab.slab.size(1)});
  for (size_t i = 0; i < slab.rows->size(); ++i)
    dense[(*slab.rows)[i]] = slab.slab.grad()[static_cast<int64_t>(i)];
  return dense;
}

TEST_P(GoldenRanking, GradientsMeetTheRecording) {
  Replica run(*golden_);
  run.model.train();
  run.model.loss(run.batch).total.backward();
  for (const auto& [name, parameter] : run.model.dense_parameters()) {
    const std::string recorded = "grad." + GoldenCase::recorded_name(name);
    ASSERT_TRUE(golden_->has(recorded) || !parameter.grad().defined()) << name;
    if (!golden_->has(recorded)) continue;
    ASSERT_TRUE(parameter.grad().defined()) << name;
    expect_gradient_near(parameter.grad(), golden_->tensor(recorded), name);
  }
  const auto tables = run.model.tables();
  for (size_t t = 0; t < tables.size(); ++t) {
    const nn::EmbeddingTable& table = *tables[t];
    const torch::Tensor dense = dense_gradient(run.model.slab_gradients()[t], table.rows());
    const auto compare = [&](const std::string& name, const torch::Tensor& gradient) {
      expect_gradient_near(gradient, golden_->tensor("grad." + GoldenCase::recorded_name(name)),
                           name);
    };
    compare("tables." + table.name(), dense.narrow(1, 0, table.dim()));
    if (table.has_first_order())
      compare("first_order." + table.name(), dense.narrow(1, table.dim(), 1));
  }
}

// Biases in front of a batch norm have no true gradient; Adam amplifies its noise.
bool is_noise(const std::string& name) {
  return name.find("mlp_layers") != std::string::npos && name.ends_with(".bias");
}

TEST_P(GoldenRanking, FiveAdamStepsMeetTheRecording) {
  Replica run(*golden_);
  run.model.train();
  nn::Optimizer optimizer(golden_->optimizer(), run.model.dense_parameters(), run.model.tables());
  std::vector<float> losses;
  for (int64_t step = 0; step < golden_->steps(); ++step) {
    const Losses loss = run.model.loss(run.batch);
    losses.push_back(loss.total.item<float>());
    loss.total.backward();
    optimizer.step(run.model.slab_gradients());
  }
  expect_outputs_near(at::from_blob(losses.data(), {golden_->steps()}).clone(),
                      golden_->tensor("train.loss"), "train.loss");
  optimizer.flush();
  const bool batch_norm = golden_->model() == "DCN" || golden_->model() == "DCNv2";
  const double rate = golden_->optimizer().learning_rate;
  for (const auto& [name, tensor] : run.model.state()) {
    const std::string recorded = "final." + GoldenCase::recorded_name(name);
    if (!golden_->has(recorded) || (batch_norm && is_noise(recorded))) continue;
    const torch::Tensor expected = golden_->tensor(recorded);
    const Deviation found = deviation(tensor, expected, torch::full_like(expected, 1e-4));
    EXPECT_GE(found.within, 0.999) << name;
    EXPECT_LE(found.worst * 1e-4, rate) << name;
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenRanking);
INSTANTIATE_TEST_SUITE_P(Recorded, GoldenRanking, ::testing::ValuesIn(cases()),
                         [](const auto& entry) { return entry.param.stem().string(); });

TEST(GoldenRankingFolder, Exists) {
  LLMCF_REQUIRE_PATH(llmcf::testing::golden_directory() / "ranking");
  EXPECT_FALSE(cases().empty());
}

}  // namespace
}  // namespace llmcf::models
