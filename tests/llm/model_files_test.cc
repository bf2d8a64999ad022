// Model directories: what is read, sharded or not and in any float dtype, and what is refused.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "llm/adapter.h"
#include "llm/checkpoint.h"
#include "llm/model_directory.h"
#include "llm/toy_model.h"

namespace llmcf::llm {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::toy_model;

class ModelFiles : public ::testing::Test {
 protected:
  ModelFiles() { save_model(*model_, {}, place_); }

  void change_config(const std::string& key, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(read_file(place_ / "config.json"));
    json[key] = value;
    write_file(place_ / "config.json", json.dump());
  }
  void write_shards(int64_t bytes) {
    fs::remove(place_ / "model.safetensors");
    write_checkpoint(place_, model_->parameters(), bytes);
  }
  std::string refusal() const {
    try {
      LanguageModel::load(place_, torch::kFloat, torch::kCPU);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  static double difference(const LanguageModel& a, const LanguageModel& b) {
    double largest = 0;
    for (size_t i = 0; i < a.parameters().size(); ++i)
      largest = std::max(largest, (a.parameters()[i].second.to(torch::kFloat) -
                                   b.parameters()[i].second.to(torch::kFloat))
                                      .abs()
                                      .max()
                                      .item<double>());
    return largest;
  }

  TemporaryDirectory directory_;
  fs::path place_ = directory_.path() / "model";
  std::unique_ptr<LanguageModel> model_ = toy_model();
};

TEST_F(ModelFiles, ComeBackAsTheyWere) {
  EXPECT_EQ(difference(*LanguageModel::load(place_, torch::kFloat, torch::kCPU), *model_), 0);
  EXPECT_THROW(save_model(*model_, {}, place_), Error);
}

TEST_F(ModelFiles, ComeInShards) {
  write_shards(20000);
  ASSERT_TRUE(fs::exists(place_ / "model.safetensors.index.json"));
  ASSERT_TRUE(fs::exists(place_ / "model-00002-of-00006.safetensors"))
      << read_file(place_ / "model.safetensors.index.json");
  EXPECT_EQ(difference(*LanguageModel::load(place_, torch::kFloat, torch::kCPU), *model_), 0);
}

TEST_F(ModelFiles, HalfPrecisionIsConverted) {
  for (const auto dtype : {torch::kBFloat16, torch::kHalf}) {
    const auto half = LanguageModel::load(place_, dtype, torch::kCPU);
    const fs::path again = directory_.path() / (dtype == torch::kHalf ? "fp16" : "bf16");
    save_model(*half, place_, again);
    const auto wide = LanguageModel::load(again, torch::kFloat, torch::kCPU);
    EXPECT_EQ(difference(*wide, *half), 0);
    EXPECT_GT(difference(*wide, *model_), 0);
    EXPECT_LT(difference(*wide, *model_), 0.01);
  }
}

TEST_F(ModelFiles, TheKindsOfTheFamilyDiffer) {
  change_config("attention_bias", true);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("q_proj.bias"), HasSubstr("missing")));
  change_config("attention_bias", false);
  change_config("architectures", {"Qwen2ForCausalLM"});
  EXPECT_THAT(refusal(), HasSubstr("q_proj.bias"));
  change_config("architectures", {"MistralForCausalLM"});
  change_config("sliding_window", 2);
  const auto sliding = LanguageModel::load(place_, torch::kFloat, torch::kCPU);
  const auto last = [](const LanguageModel& model, std::vector<int64_t> ids) {
    const auto n = static_cast<int64_t>(ids.size());
    const torch::NoGradGuard no_gradients;
    return model.hidden({at::from_blob(ids.data(), {1, n}, torch::kLong), {}, {}})[0][n - 1];
  };
  // Two layers of a window of two reach two tokens back.
  const auto changed = [&](const LanguageModel& model, std::vector<int64_t> other) {
    return !last(model, {1, 50, 60, 70, 80}).equal(last(model, std::move(other)));
  };
  EXPECT_FALSE(changed(*sliding, {1, 99, 60, 70, 80}));
  EXPECT_TRUE(changed(*sliding, {1, 50, 99, 70, 80}));
  EXPECT_TRUE(changed(*model_, {1, 99, 60, 70, 80}));
}

TEST_F(ModelFiles, RopeScalingStretchesLongWavesOnly) {
  change_config("rope_scaling", {{"rope_type", "llama3"},
                                 {"factor", 4.0},
                                 {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4.0},
                                 {"original_max_position_embeddings", 32}});
  const auto scaled = LanguageModel::load(place_, torch::kFloat, torch::kCPU);
  std::vector<int64_t> ids = {1, 50, 60, 70, 80};
  const torch::NoGradGuard no_gradients;
  const auto read = [&](const LanguageModel& model) {
    return model.hidden({at::from_blob(ids.data(), {1, 5}, torch::kLong), {}, {}});
  };
  EXPECT_FALSE(read(*scaled).allclose(read(*model_), 1e-4, 1e-4));
  change_config("rope_scaling", {{"type", "yarn"}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("config.json"), HasSubstr("'yarn' is not supported")));
}

TEST_F(ModelFiles, RefusalsNameTheFileAndWhatIsWrong) {
  change_config("architectures", {"GPT2LMHeadModel"});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("config.json"), HasSubstr("'GPT2LMHeadModel'"),
                               HasSubstr("LlamaForCausalLM")));
  change_config("architectures", {"LlamaForCausalLM"});
  change_config("hidden_act", "gelu");
  EXPECT_THAT(refusal(), HasSubstr("'gelu'"));
  change_config("hidden_act", "silu");
  change_config("num_key_value_heads", 3);
  EXPECT_THAT(refusal(), HasSubstr("do not share 3"));
  change_config("num_key_value_heads", 2);
  change_config("hidden_size", "wide");
  EXPECT_THAT(refusal(), HasSubstr("'hidden_size' is \"wide\""));
  change_config("hidden_size", 32);
  change_config("intermediate_size", 49);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("gate_proj"), HasSubstr("[48, 32], expected [49, 32]")));
  change_config("intermediate_size", 48);
  change_config("num_hidden_layers", 3);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.layers.2."), HasSubstr("missing")));
  change_config("num_hidden_layers", 2);
  EXPECT_EQ(refusal(), "accepted");
  write_file(place_ / "config.json", "{");
  EXPECT_THAT(refusal(), HasSubstr("not JSON"));
  fs::remove(place_ / "config.json");
  EXPECT_THAT(refusal(), HasSubstr("no config.json"));
}

TEST_F(ModelFiles, BrokenShardsAreNamed) {
  write_shards(20000);
  const fs::path shard = place_ / "model-00002-of-00006.safetensors";
  const std::string whole = read_file(shard);
  write_file(shard, whole.substr(0, whole.size() - 10));
  EXPECT_THAT(refusal(), HasSubstr("model-00002"));
  write_file(shard, whole);
  fs::copy_file(place_ / "model-00003-of-00006.safetensors", shard,
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model-00002"), HasSubstr("lacks tensor")));
  fs::remove(shard);
  EXPECT_THAT(refusal(), HasSubstr("model-00002"));
  write_file(shard, whole);
  auto index = nlohmann::json::parse(read_file(place_ / "model.safetensors.index.json"));
  index["weight_map"]["lm_head.weight"] = "../elsewhere.safetensors";
  write_file(place_ / "model.safetensors.index.json", index.dump());
  EXPECT_THAT(refusal(), HasSubstr("not a file beside it"));
  write_file(place_ / "model.safetensors.index.json", "[]");
  EXPECT_THAT(refusal(), HasSubstr("not an index"));
}

}  // namespace
}  // namespace llmcf::llm
