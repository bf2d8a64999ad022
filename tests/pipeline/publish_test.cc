// Bundles of small runs, of every backbone and context, against what training measured: whole test
// splits, logit by logit.
#include "pipeline/publish.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "data/sample.h"
#include "nn/runtime.h"
#include "pipeline/run.h"
#include "pipeline/workspace.h"
#include "serve/parity.h"
#include "serve/retrieval_profile.h"

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;

constexpr const char* kRun = R"(
name: small
workspace: {workspace}
protocol: {protocol}
seeds: [1]
data: {{format: table, path: {shop}, schema: {shop}/schema.yaml}}
split: {{seed: 1}}
encode: {{kind: lsa, width: 16}}
reason: {{kind: template, share: 0.3, seed: 1}}
retrieve: {{k: 4, collaborative: {{width: 8, folds: 2}}, reasons: {{weight: 0.2}}}}
model: {{embed_dim: 8, mlp: [24, 12], text_map: [20, 16], token_map: [24, 16], context: ict,
        xdeepfm: {{cin: [12, 8]}}}}
train: {{epochs: 1, batch_size: 64, learning_rate: 0.02, weight_decay: 1.0e-5, history_length: 6}}
variants:
{variants})";

class PublishTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    nn::set_threads(1);
    directory_ = new TemporaryDirectory();
    data::write_sample({.users = 120, .items = 100, .events_per_user = 8, .seed = 5}, shop());
  }
  static void TearDownTestSuite() { delete directory_; }

  static std::filesystem::path shop() { return directory_->path() / "shop"; }
  static std::filesystem::path workspace(const std::string& protocol) {
    return directory_->path() / protocol;
  }

  static RunConfig config(const std::string& variants, const std::string& protocol = "strict") {
    return RunConfig::from(
        Config::parse(fmt::format(kRun, fmt::arg("workspace", workspace(protocol).string()),
                                  fmt::arg("shop", shop().string()), fmt::arg("protocol", protocol),
                                  fmt::arg("variants", variants)),
                      (directory_->path() / "run.yaml").string()),
        "small");
  }

  static std::filesystem::path bundle(const std::string& name) {
    return directory_->path() / (name + ".bundle");
  }

  // Trains and publishes every variant and compares it with its own test split.
  static void expect_parity(const std::vector<std::string>& names, const std::string& variants,
                            const std::string& protocol = "strict") {
    const RunConfig run = config(variants, protocol);
    for (const std::string& name : names) {
      publish(run, {.variant = name, .seed = 0, .out = bundle(name)});
      const serve::Parity parity = serve::compare_test_split(
          bundle(name), workspace(protocol),
          run_directory(workspace(protocol), name, 1) / "test_scores.safetensors");
      EXPECT_GT(parity.rows, 200) << name;
      EXPECT_GT(parity.spread, 0.02) << name << ": nothing was learned, nothing is compared";
      EXPECT_LT(parity.largest, 1e-4) << name;
      RecordProperty(name, fmt::format("{:.2g}", parity.largest));
    }
  }

  static TemporaryDirectory* directory_;
};

TemporaryDirectory* PublishTest::directory_ = nullptr;

TEST_F(PublishTest, EveryBackboneScoresAsInTraining) {
  std::vector<std::string> names;
  std::string variants;
  for (const char* backbone : {"autoint", "dcn", "dcnv2", "deepfm", "din", "xdeepfm"})
    for (const char* context : {"none", "ict"}) {
      names.push_back(fmt::format("{}-{}", backbone, context));
      variants += fmt::format("  - {{name: {}, model: {{backbone: {}, context: {}}}}}\n",
                              names.back(), backbone, context);
    }
  expect_parity(names, variants);
}

TEST_F(PublishTest, EveryContextScoresAsInTraining) {
  expect_parity({"text", "aligned", "concat", "wocot", "mean", "own-map", "published",
                 "published-wocot", "deep", "told-separate", "gated", "narrow"},
                R"(  - {name: text, model: {context: text}}
  - {name: aligned, model: {context: text, alignment: true}}
  - {name: concat, model: {context: concat}}
  - {name: wocot, model: {context: ict_wocot}}
  - {name: mean, model: {context: mean}}
  - {name: own-map, model: {context: ict, ict: {cot_map: own}}}
  - {name: published, model: {ict: {module: published}}}
  - {name: published-wocot, model: {context: ict_wocot, ict: {module: published}}}
  - {name: deep, model: {ict: {layers: 3, heads: 4, hidden: 20}}}
  - {name: told-separate, model: {ict: {tokens: separate}}}
  - {name: gated, model: {gate: similarity}}
  - {name: narrow, model: {text_map: [10], token_map: [10], ict: {heads: 1}}}
)");
}

TEST_F(PublishTest, OptionsOfBackbonesScoreAsInTraining) {
  expect_parity(
      {"autoint-deep", "xdeepfm-direct", "dcn-two", "din-deep", "deepfm-three"},
      R"(  - {name: autoint-deep, model: {backbone: autoint, autoint: {heads: 4, layers: 2, residual: false}}}
  - {name: xdeepfm-direct, model: {backbone: xdeepfm, xdeepfm: {cin: [10, 6], direct: true, relu_on_logit: true}}}
  - {name: dcn-two, model: {backbone: dcn, dcn: {cross_layers: 2, context_layer: none, cross_init_deviation: 0.1}}}
  - {name: din-deep, model: {backbone: din, din: {attention: [12, 9, 5], last_attention_activation: relu}}}
  - {name: deepfm-three, model: {mlp: [20, 33, 7]}}
)");
}

TEST_F(PublishTest, EveryBackboneWithReasoningVectorsScoresAsInTraining) {
  expect_parity({"kar-autoint", "kar-dcn", "kar-dcnv2", "kar-deepfm", "kar-din", "kar-xdeepfm",
                 "kar-aligned", "kar-narrow"},
                R"(  - {name: kar-autoint, model: {context: kar, backbone: autoint}}
  - {name: kar-dcn, model: {context: kar, backbone: dcn}}
  - {name: kar-dcnv2, model: {context: kar, backbone: dcnv2}}
  - {name: kar-deepfm, model: {context: kar, backbone: deepfm}}
  - {name: kar-din, model: {context: kar, backbone: din}}
  - {name: kar-xdeepfm, model: {context: kar, backbone: xdeepfm}}
  - {name: kar-aligned, model: {context: kar, alignment: true}}
  - {name: kar-narrow, model: {context: kar, kar: {shared_experts: 1, specific_experts: 2, map: [9]}}}
)");
}

// The text that the user's last row reads, by name and by hand.
TEST_F(PublishTest, ABundleHasTheNewestTextAboutEachUser) {
  publish(config("  - {name: kar-deepfm, model: {context: kar}}\n"),
          {.variant = "kar-deepfm", .seed = 0, .out = bundle("kar-newest")});
  const serve::Bundle published(bundle("kar-newest"));
  const data::RowSet rows(workspace("strict") / "data" / "rows.safetensors");
  const SafetensorsReader texts(workspace("strict") / "cot" / "knowledge.safetensors");
  const auto vectors = texts.get<float>("user_vectors");
  const int64_t width = texts.tensor("user_vectors").shape[1];
  const auto users = published.reader().get<float>("kar.user");
  const data::Rows& test = rows.rows(data::Split::kTest);
  const auto row_of = texts.get<int32_t>("user_row.test", {test.size()});
  EXPECT_EQ(published.user_text_length()[0], 0);
  for (int64_t c = 0; c < width; ++c)
    EXPECT_EQ(users[static_cast<size_t>(c)], 0);
  int64_t compared = 0;
  for (size_t row = 0; row < row_of.size(); ++row) {
    // Each user's test rows are after all others; not all have the same history.
    const auto length = static_cast<uint32_t>(test.position[row]);
    const int32_t newest = published.user_text_length()[static_cast<size_t>(test.user[row])];
    EXPECT_GE(newest, static_cast<int32_t>(std::bit_floor(length)));
    if (newest != static_cast<int32_t>(std::bit_floor(length))) continue;
    ++compared;
    for (int64_t c = 0; c < width; ++c)
      ASSERT_EQ(users[static_cast<size_t>(test.user[row] * width + c)],
                vectors[static_cast<size_t>(row_of[row] * width + c)]);
  }
  EXPECT_GT(compared, 100);
  EXPECT_FALSE(published.reader().contains("kar.item")) << "of no use once items are precomputed";
}

TEST_F(PublishTest, ABundleTellsWhatRetrievalFoundForTheTestRows) {
  publish(config("  - {name: deepfm-ict, model: {backbone: deepfm, context: ict}}\n"),
          {.variant = "deepfm-ict", .seed = 0, .out = bundle("profiled")});
  const auto profile = serve::RetrievalProfile::read(serve::Bundle(bundle("profiled")).reader());
  ASSERT_TRUE(profile);
  const auto found =
      retrieval::Assignment::load(workspace("strict") / "retrieval" / "test.safetensors");
  EXPECT_EQ(profile->rows, found.rows);
  EXPECT_EQ(profile->slots, found.rows * found.k);
  EXPECT_EQ(profile->filled,
            std::count_if(found.ids.begin(), found.ids.end(), [](int32_t id) { return id >= 0; }));
  EXPECT_GT(profile->with_examples, found.rows / 2);
}

TEST_F(PublishTest, ThePapersProtocolScoresAsInTraining) {
  expect_parity({"paper-deepfm", "paper-din", "paper-xdeepfm", "paper-kar"},
                R"(  - {name: paper-deepfm, model: {backbone: deepfm}}
  - {name: paper-din, model: {backbone: din, context: text}}
  - {name: paper-xdeepfm, model: {backbone: xdeepfm, context: none}}
  - {name: paper-kar, model: {context: kar}}
)",
                "paper");
}

template <typename Function>
std::string error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(PublishTest, WhatCannotBeServedIsRefusedByName) {
  const auto refused = [](const std::string& variants, const std::string& name) {
    return error_of(
        [&] { publish(config(variants), {.variant = name, .seed = 0, .out = bundle("refused")}); });
  };
  EXPECT_THAT(refused("  - {name: plain, model: {context: none}}\n", "plian"),
              HasSubstr("'plain'"));
  EXPECT_FALSE(std::filesystem::exists(bundle("refused")));
}

}  // namespace
}  // namespace llmcf::pipeline
