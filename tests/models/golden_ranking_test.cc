// Every recorded ranking case: forward, losses, gradients and five Adam steps meet what the public
// code did, within the tolerances of golden/README.md, under protocol paper. A recorded tensor that
// is compared with nothing is a failure.
#include <algorithm>
#include <cstring>
#include <regex>
#include <set>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "models/golden_case.h"
#include "models/recommender.h"
#include "shared_data.h"

namespace llmcf::models {
namespace {

using testing::GoldenCase;
using testing::RecordedView;

void expect_outputs_near(const torch::Tensor& a, const torch::Tensor& b, const std::string& what) {
  ASSERT_EQ(a.numel(), b.numel()) << what;
  const torch::Tensor flat = b.flatten();
  const torch::Tensor allowed = 5e-5 * flat.abs().clamp_min(1);
  EXPECT_TRUE(((a.flatten() - flat).abs() <= allowed).all().item<bool>()) << what;
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
      for (const RecordedView& part : golden.recorded(entry.first, entry.second)) {
        const bool parameter = golden.has("param." + part.name);
        const std::string recorded = (parameter ? "param." : "buffer.") + part.name;
        part.view.copy_(golden.tensor(recorded).reshape(part.view.sizes()));
        loaded.insert(recorded);
      }
    });
  }
  Recommender model;
  Batch batch;
  std::set<std::string> loaded;
};

// Names of the recording that begin with `prefix` and are not in `compared`.
std::vector<std::string> left_over(const GoldenCase& golden, const std::string& prefix,
                                   const std::set<std::string>& compared) {
  std::vector<std::string> names;
  for (const auto& [name, view] : golden.reader().tensors())
    if (name.starts_with(prefix) && !compared.contains(name)) names.push_back(name);
  return names;
}

std::vector<std::filesystem::path> cases() {
  std::vector<std::filesystem::path> paths;
  const auto folder = llmcf::testing::golden_directory() / "ranking";
  if (!std::filesystem::exists(folder)) return paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

class GoldenRanking : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override { golden_ = std::make_unique<GoldenCase>(GetParam()); }
  std::unique_ptr<GoldenCase> golden_;
};

// But for what the public code registers and does not train (frozen tables, a transformer that the
// variant does not run): that has no recorded gradient.
TEST_P(GoldenRanking, EveryRecordedParameterAndBufferHasAPlace) {
  const Replica run(*golden_);
  EXPECT_EQ(left_over(*golden_, "buffer.", run.loaded), std::vector<std::string>());
  for (const std::string& name : left_over(*golden_, "param.", run.loaded))
    EXPECT_FALSE(golden_->has("grad." + name.substr(6))) << name;
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
  if (!golden_->has("out.reconstruction_loss")) return;
  ASSERT_TRUE(output.reconstruction.defined());
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
  std::set<std::string> compared;
  const auto compare = [&](const std::string& name, const torch::Tensor& gradient) {
    for (const RecordedView& part : golden_->recorded(name, gradient)) {
      const std::string recorded = "grad." + part.name;
      ASSERT_TRUE(golden_->has(recorded)) << name;
      expect_gradient_near(part.view, golden_->tensor(recorded).reshape(part.view.sizes()), name);
      compared.insert(recorded);
    }
  };
  for (const auto& [name, parameter] : run.model.dense_parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    compare(name, parameter.grad());
  }
  const auto tables = run.model.tables();
  for (size_t t = 0; t < tables.size(); ++t) {
    const nn::EmbeddingTable& table = *tables[t];
    const torch::Tensor dense = dense_gradient(run.model.slab_gradients()[t], table.rows());
    compare("tables." + table.name(), dense.narrow(1, 0, table.dim()));
    if (table.has_first_order())
      compare("first_order." + table.name(), dense.narrow(1, table.dim(), 1));
  }
  EXPECT_EQ(left_over(*golden_, "grad.", compared), std::vector<std::string>());
}

// Linear biases in front of a batch norm have no true gradient; Adam amplifies its noise. So has
// the key third of an attention's in_proj_bias. Neither counts.
torch::Tensor that_counts(const std::string& recorded, bool batch_norm,
                          const torch::Tensor& values) {
  static const std::regex entry("final\\.mlp_layers\\.mlp_layers\\.(\\d+)\\.bias");
  std::smatch found;
  if (batch_norm && std::regex_match(recorded, found, entry) && std::stoi(found[1]) % 4 == 1)
    return values.narrow(0, 0, 0);
  if (!recorded.ends_with("in_proj_bias")) return values;
  const int64_t third = values.size(0) / 3;
  return at::cat({values.narrow(0, 0, third), values.narrow(0, 2 * third, third)});
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
  const double rate = golden_->optimizer().learning_rate;
  int64_t elements = 0, near = 0;
  std::set<std::string> compared;
  for (const auto& [name, tensor] : run.model.state())
    for (const RecordedView& part : golden_->recorded(name, tensor)) {
      const std::string recorded = "final." + part.name;
      if (!golden_->has(recorded)) continue;  // a running statistic
      compared.insert(recorded);
      const auto counts = [&](const torch::Tensor& values) {
        return that_counts(recorded, golden_->has_batch_norm(), values);
      };
      const torch::Tensor expected = counts(golden_->tensor(recorded).reshape(part.view.sizes()));
      if (expected.numel() == 0) continue;
      const torch::Tensor distance = (counts(part.view) - expected).abs();
      elements += expected.numel();
      near += (distance <= 1e-4).sum().item<int64_t>();
      EXPECT_LE(distance.max().item<double>(), rate) << name;
    }
  EXPECT_GE(static_cast<double>(near), 0.999 * static_cast<double>(elements));
  // What did not train is what it was.
  for (const std::string& name : left_over(*golden_, "final.", compared)) {
    const std::string plain = name.substr(6);
    EXPECT_FALSE(golden_->has("grad." + plain)) << name;
    EXPECT_TRUE(golden_->tensor(name).equal(golden_->tensor("param." + plain))) << name;
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
