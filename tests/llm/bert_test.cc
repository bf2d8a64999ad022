// A recorded BERT (golden/llm/bert-tiny): states and pooled vectors; padding changes nothing.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "llm/bert_model.h"
#include "shared_data.h"

namespace llmcf::llm {
namespace {

class Bert : public ::testing::Test {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PATH(directory_);
    recorded_ = std::make_unique<SafetensorsReader>(directory_ / "golden.safetensors");
  }
  torch::Tensor tensor(const std::string& name, torch::Dtype dtype) const {
    const TensorView& view = recorded_->tensor(name);
    return at::from_blob(const_cast<std::byte*>(view.data), view.shape, dtype).clone();
  }
  static double distance(const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).abs().max().item<double>();
  }
  std::filesystem::path directory_ = llmcf::testing::golden_directory() / "llm" / "bert-tiny";
  std::unique_ptr<SafetensorsReader> recorded_;
};

TEST_F(Bert, GivesTheRecordedStatesAndVectors) {
  const torch::NoGradGuard no_gradients;
  const BertModel model = BertModel::load(directory_, torch::kFloat, torch::kCPU);
  const torch::Tensor ids = tensor("in.ids", torch::kLong), mask = tensor("in.mask", torch::kLong);
  const torch::Tensor states = model.states(ids, mask);
  const torch::Tensor real = mask.to(torch::kFloat).unsqueeze(2);
  EXPECT_LE(distance(states * real, tensor("out.last_hidden", torch::kFloat) * real), 1e-4);
  EXPECT_LE(distance(BertModel::pooled(states, mask, Pooling::kMean),
                     tensor("out.mean_pooled_normalised", torch::kFloat)),
            1e-4);
  EXPECT_LE(distance(BertModel::pooled(states, mask, Pooling::kFirst),
                     tensor("out.cls_normalised", torch::kFloat)),
            1e-4);
}

TEST_F(Bert, PaddingChangesNothing) {
  const torch::NoGradGuard no_gradients;
  const BertModel model = BertModel::load(directory_, torch::kFloat, torch::kCPU);
  const torch::Tensor ids = tensor("in.ids", torch::kLong).narrow(0, 0, 1);
  const auto vector = [&](int64_t real, int64_t length) {
    torch::Tensor mask = torch::Tensor(ids.narrow(1, 0, length).clone()).zero_();
    mask.narrow(1, 0, real).fill_(1);
    return BertModel::pooled(model.states(ids.narrow(1, 0, length), mask), mask, Pooling::kMean);
  };
  EXPECT_LT(distance(vector(5, 5), vector(5, 12)), 1e-6);
  EXPECT_GT(distance(vector(5, 12), vector(6, 12)), 1e-4);
}

TEST_F(Bert, RefusalsNameWhatIsWrong) {
  const TemporaryDirectory other;
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(directory_ / name, other.path() / name);
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string text = read_file(directory_ / "config.json");
    text.replace(text.find(from), from.size(), to);
    std::filesystem::remove(other.path() / "config.json");
    write_file(other.path() / "config.json", text);
    try {
      BertModel::load(other.path(), torch::kFloat, torch::kCPU);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal("\"bert\"", "\"bert\""), "accepted");
  EXPECT_THAT(refusal("\"bert\"", "\"roberta\""), ::testing::HasSubstr("'roberta'"));
  EXPECT_THAT(refusal("\"gelu\"", "\"relu\""), ::testing::HasSubstr("'relu'"));
  EXPECT_THAT(refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"),
              ::testing::HasSubstr("encoder.layer.3."));
}

}  // namespace
}  // namespace llmcf::llm
