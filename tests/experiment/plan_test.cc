// From a file to the runs it asks for.
#include "pipeline/experiment/plan.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "experiment/fixture.h"

namespace llmcf::pipeline::experiment {
namespace {

using testing::Bench;
using ::testing::HasSubstr;

const Cell& cell_at(const std::vector<Cell>& cells, const Coordinates& at) {
  for (const Cell& cell : cells)
    if (cell.at == at) return cell;
  throw Error("no cell at " + at.label());
}

std::string failure_of(const Bench& bench) {
  try {
    plan(bench.load());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Plan, HasOneRunPerBackboneVariantAndSeed) {
  const Bench bench;
  const std::vector<Cell> cells = plan(bench.load());
  EXPECT_EQ(cells.size(), 9U);
  std::set<std::string> keys, directories;
  for (const Cell& cell : cells) {
    keys.insert(cell.key);
    directories.insert(cell.config.variants.front().name);
    EXPECT_EQ(cell.config.seeds, std::vector<int64_t>{cell.at.seed});
  }
  EXPECT_EQ(keys.size(), 9U);
  EXPECT_EQ(cells.front().at, (Coordinates{.backbone = "deepfm", .variant = "none", .seed = 1}));
}

TEST(Plan, KeysDependOnWhatDecidesAResultOnly) {
  const Bench bench;
  const Coordinates none{.backbone = "deepfm", .variant = "none", .seed = 1};
  const Coordinates llmcf{.backbone = "deepfm", .variant = "llmcf", .seed = 1};
  const auto key = [&](const Coordinates& at, const std::vector<std::string>& overrides) {
    return cell_at(plan(bench.load(overrides)), at).key;
  };
  for (const char* other : {"workspace=elsewhere", "jobs.threads=2", "name=x", "seeds=[1]"})
    EXPECT_EQ(key(llmcf, {}), key(llmcf, {other})) << other;
  for (const char* other : {"run.train.epochs=3", "run.split.seed=2", "run.protocol=paper",
                            "run.retrieve.k=8", "run.model.embed_dim=8"})
    EXPECT_NE(key(llmcf, {}), key(llmcf, {other})) << other;
  EXPECT_EQ(key(none, {}), key(none, {"run.retrieve.k=8"})) << "a plain model reads no examples";
}

TEST(Plan, RunsThatShareRowsAndExamplesShareAWorkspace) {
  const Bench bench(
      "sweeps: [{name: k, key: retrieve.k, values: [4, 8], variants: [none, llmcf], seeds: [1]}]");
  const std::vector<Cell> cells = plan(bench.load());
  const auto group = [&](const std::string& variant, const std::string& point) {
    return cell_at(cells, {.backbone = "deepfm",
                           .variant = variant,
                           .sweep = point.empty() ? "" : "k",
                           .point = point,
                           .seed = 1})
        .group;
  };
  EXPECT_EQ(group("none", ""), group("llmcf", ""));
  EXPECT_EQ(group("none", "8"), group("none", "4"));
  EXPECT_NE(group("llmcf", "8"), group("llmcf", "4"));
}

TEST(Plan, PresetsChangeTheirVariantAndNoOther) {
  const Bench bench;
  write_file(bench.path("presets.yaml"), "deepfm:\n  llmcf:\n    train: {learning_rate: 0.5}\n");
  for (const Cell& cell : plan(bench.load())) {
    const double rate = cell.config.variants.front().train.get<double>("learning_rate", 0);
    EXPECT_EQ(rate, cell.at.variant == "llmcf" ? 0.5 : 0.01) << cell.at.label();
  }
}

TEST(Plan, PoolsOverlayTheRun) {
  const Bench bench(
      "pools: [{name: short, variants: [llmcf], run: {pool: {words: 10}, retrieve: {k: 2}}}]");
  const std::vector<Cell> cells = plan(bench.load());
  EXPECT_EQ(cells.size(), 12U);
  const Cell& cell =
      cell_at(cells, {.backbone = "deepfm", .variant = "llmcf", .pool = "short", .seed = 3});
  EXPECT_EQ(cell.config.retrieve.get<int64_t>("k", 0), 2);
  EXPECT_EQ(cell.at.label(), "deepfm llmcf, pool short, seed 3");
}

TEST(Plan, RefusesWhatItCannotRunNamingFileAndFix) {
  EXPECT_THAT(failure_of(Bench("backbone: [deepfm]")), HasSubstr("bench.yaml"));
  EXPECT_THAT(
      failure_of(Bench("sweeps: [{name: k, key: retrieve.k, values: [1], variants: [lmcf]}]")),
      HasSubstr("did you mean 'llmcf'"));
  EXPECT_THAT(failure_of(Bench("sweeps: [{name: k, key: model.depth, values: [1]}]")),
              HasSubstr("depth"));
  EXPECT_THAT(
      failure_of(Bench("sweeps: [{name: k, key: retrieve.k, values: [1, 2], labels: [a]}]")),
      HasSubstr("1 labels for 2 values"));
  EXPECT_THAT(failure_of(Bench("jobs: {process: 2}")), HasSubstr("processes"));
}

}  // namespace
}  // namespace llmcf::pipeline::experiment
