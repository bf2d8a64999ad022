// Recorded LLaMA models (golden/llm): logits, loss, gradients and greedy continuations. Runs over
// every directory below golden/llm that holds a decoder.
#include <algorithm>
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <gtest/gtest.h>

#include "core/safetensors.h"
#include "llm/language_model.h"
#include "shared_data.h"

namespace llmcf::llm {
namespace {

std::vector<std::string> cases() {
  std::vector<std::string> names;
  const auto folder = testing::golden_directory() / "llm";
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename() != "bert-tiny" &&
        std::filesystem::exists(entry.path() / "golden.safetensors"))
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  Golden()
      : directory_(testing::golden_directory() / "llm" / GetParam()),
        recorded_(directory_ / "golden.safetensors"),
        model_(LanguageModel::load(directory_, torch::kFloat, torch::kCPU)) {}

  torch::Tensor ids(const std::string& name) const {
    const TensorView& view = recorded_.tensor(name);
    return at::from_blob(const_cast<std::byte*>(view.data), view.shape, torch::kLong).clone();
  }
  torch::Tensor floats(const std::string& name) const {
    const TensorView& view = recorded_.tensor(name);
    return at::from_blob(const_cast<std::byte*>(view.data), view.shape, torch::kFloat).clone();
  }
  static double distance(const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).abs().max().item<double>();
  }

  std::filesystem::path directory_;
  SafetensorsReader recorded_;
  std::unique_ptr<LanguageModel> model_;
};

TEST_P(Golden, Logits) {
  if (!recorded_.contains("out.logits")) GTEST_SKIP() << "not recorded";
  const torch::NoGradGuard no_gradients;
  const auto logits = model_->logits(model_->hidden({ids("in.ids"), {}, {}}));
  EXPECT_LE(distance(logits, floats("out.logits")), 1e-4);
}

TEST_P(Golden, LossAndGradients) {
  if (!recorded_.contains("out.loss")) GTEST_SKIP() << "not recorded";
  for (const bool recomputes : {false, true}) {
    model_->checkpoints_layers = recomputes;
    auto parameters = model_->parameters();
    for (auto& [name, tensor] : parameters)
      tensor.requires_grad_(true).mutable_grad() = torch::Tensor();
    const auto loss = model_->loss({ids("in.ids"), {}, {}}, ids("in.targets"));
    EXPECT_NEAR(loss.mean.item<double>(), floats("out.loss").item<double>(), 1e-4);
    loss.mean.backward();
    int compared = 0;
    for (auto& [name, tensor] : parameters) {
      if (!recorded_.contains("grad." + name)) continue;
      const torch::Tensor want = floats("grad." + name);
      EXPECT_LE(distance(tensor.grad(), want),
                1e-4 * std::max(1.0, want.abs().max().item<double>()))
          << name << (recomputes ? ", layers recomputed" : "");
      ++compared;
    }
    EXPECT_GE(compared, 1);
  }
}

// Token by token from a cache, after a prefill of what is known.
TEST_P(Golden, GreedyContinuation) {
  const torch::NoGradGuard no_gradients;
  const torch::Tensor want = ids("out.greedy");
  const int64_t length = want.size(1);
  const int64_t known = recorded_.contains("in.ids") ? ids("in.ids").size(1) : 1;
  KvCache cache = model_->make_cache(3, length);
  const auto positions = [](int64_t first, int64_t count) {
    std::vector<int64_t> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i)
      values[static_cast<size_t>(i)] = first + i;
    return at::tensor(values, torch::kLong).view({1, count});
  };
  CacheView view{cache, 1, known};
  torch::Tensor hidden = model_->hidden({want.narrow(1, 0, known), positions(0, known), {}}, &view);
  for (int64_t at = known; at < length; ++at) {
    const auto next = model_->logits(hidden.narrow(1, hidden.size(1) - 1, 1)).argmax(-1);
    ASSERT_EQ(next.item<int64_t>(), want[0][at].item<int64_t>()) << "token " << at;
    view.length = at + 1;
    hidden = model_->hidden({next, positions(at, 1), {}}, &view);
  }
}

TEST_P(Golden, CountsItsParameters) {
  int64_t count = 0;
  for (const auto& [name, tensor] : model_->parameters())
    count += tensor.numel();
  EXPECT_EQ(count, model_->config().parameters());
}

INSTANTIATE_TEST_SUITE_P(All, Golden, ::testing::ValuesIn(cases()), [](const auto& entry) {
  std::string name = entry.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Golden);

}  // namespace
}  // namespace llmcf::llm
