// Run configurations: overlays of variants, overrides, and errors that say where.
#include "pipeline/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::pipeline {
namespace {

constexpr const char* kText = R"(
workspace: there
seeds: [1, 2]
model: {backbone: deepfm, embed_dim: 8}
train: {epochs: 3}
variants:
  - {name: none, model: {context: none}}
  - {name: llmcf, model: {context: ict, embed_dim: 16}}
)";

class RunConfigTest : public ::testing::Test {
 protected:
  RunConfig load(const std::string& text, const std::vector<std::string>& overrides = {}) {
    write_file(directory_.path() / "run.yaml", text);
    return RunConfig::load(directory_.path() / "run.yaml", overrides);
  }
  std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
    try {
      load(text, overrides);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  TemporaryDirectory directory_;
};

TEST_F(RunConfigTest, VariantsOverlayTheRunsSections) {
  const RunConfig run = load(kText);
  ASSERT_EQ(run.variants.size(), 2U);
  EXPECT_EQ(run.variants[0].model.get<int64_t>("embed_dim", 0), 8);
  EXPECT_EQ(run.variants[1].model.get<int64_t>("embed_dim", 0), 16);
  EXPECT_EQ(run.variants[1].model.get<std::string>("backbone", ""), "deepfm");
  EXPECT_EQ(run.workspace, directory_.path() / "there");
  EXPECT_EQ(run.name, "run");
}

TEST_F(RunConfigTest, OverridesReplaceValues) {
  EXPECT_EQ(load(kText, {"train.epochs=7"}).variants[0].train.get<int64_t>("epochs", 0), 7);
  EXPECT_EQ(load(kText, {"seeds=[5]"}).seeds, std::vector<int64_t>{5});
}

TEST_F(RunConfigTest, ErrorsNameFileLineAndNearestKey) {
  EXPECT_THAT(
      error_of("varaints: []\nvariants: [{name: a}]\n"),
      ::testing::AllOf(::testing::HasSubstr("run.yaml:1"), ::testing::HasSubstr("variants")));
  EXPECT_THAT(error_of("seeds: [1]\n"), ::testing::HasSubstr("variants"));
  EXPECT_THAT(error_of("variants:\n  - {name: ../up}\n"), ::testing::HasSubstr("run.yaml:2"));
  EXPECT_THAT(error_of("variants:\n  - {name: a}\n  - {name: a}\n"),
              ::testing::HasSubstr("two variants"));
  EXPECT_THAT(error_of("protocol: lax\nvariants: [{name: a}]\n"), ::testing::HasSubstr("strict"));
  EXPECT_THAT(error_of(kText, {"epochs"}), ::testing::HasSubstr("path=value"));
}

}  // namespace
}  // namespace llmcf::pipeline
