// The search gives every variant the same trials and writes what won.
#include "pipeline/experiment/tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "experiment/fixture.h"

namespace llmcf::pipeline::experiment {
namespace {

using testing::Bench;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTune = R"(
tune:
  trials: 4
  user_share: 0.5
  train: {epochs: 1}
  variants: [none, llmcf]
  inherit: {text: llmcf}
  space:
    - {key: train.learning_rate, log: [0.001, 0.1]}
    - {key: model.dropout, choice: [0.0, 0.5]}
    - {key: model.ict.layers, choice: [1, 2, 3], variants: [llmcf]}
)";

std::string value_of(const std::vector<Adjustment>& drawn, const std::string& path) {
  for (const Adjustment& adjustment : drawn)
    if (adjustment.path == path) return adjustment.yaml;
  return "";
}

TEST(Tune, DrawsTheSameValuesForEveryVariant) {
  TuneOptions options = TuneOptions::from(Bench(kTune).load());
  options.trials = 21;
  std::set<std::string> rates;
  int low = 0, high = 0;
  for (int64_t trial = 1; trial <= 20; ++trial) {
    const auto none = draw(options, "none", trial), llmcf = draw(options, "llmcf", trial);
    EXPECT_EQ(none.size(), 2U);
    EXPECT_EQ(llmcf.size(), 3U);
    const std::string rate = value_of(none, "train.learning_rate");
    EXPECT_EQ(rate, value_of(llmcf, "train.learning_rate"));
    EXPECT_GE(std::stod(rate), 0.001);
    EXPECT_LE(std::stod(rate), 0.1);
    rates.insert(rate);
    low += std::stod(rate) < 0.01;  // the middle of the range, on its logarithmic scale
    high += value_of(none, "model.dropout") == "0.5";
  }
  EXPECT_EQ(rates.size(), 20U);
  EXPECT_EQ(low, 10) << "draws are spread over the range";
  EXPECT_EQ(high, 10);
  EXPECT_TRUE(draw(options, "llmcf", 0).empty()) << "trial 0 is the model as it is";
}

TEST(Tune, TrialsRunOnAShareOfTheUsersWithTheSearchsOwnEpochs) {
  const Experiment experiment = Bench(kTune).load();
  const auto cells = plan_trials(experiment, TuneOptions::from(experiment));
  EXPECT_EQ(cells.size(), 8U);
  for (const Cell& cell : cells) {
    EXPECT_EQ(cell.config.split.get<double>("user_share", 1), 0.5);
    EXPECT_EQ(cell.config.variants.front().train.get<int64_t>("epochs", 0), 1);
  }
}

TEST(Tune, WritesTheBestByValidationAsPresetsThatThePlanReads) {
  const Bench bench(kTune);
  const Experiment experiment = bench.load();
  const TuneOptions options = TuneOptions::from(experiment);
  {
    ResultStore store(options.results);
    for (const Cell& cell : plan_trials(experiment, options)) {
      Result result{.key = cell.key, .experiment = "bench", .at = cell.at, .auc = {}};
      const bool best = cell.at.point == (cell.at.variant == "llmcf" ? "3" : "0");
      result.valid = best ? 0.8 : 0.7;
      store.add(result);
    }
    const std::string text = presets_text(experiment, options, store, load_presets(experiment));
    EXPECT_THAT(text, HasSubstr("none: {}  # trial 0 of 4: 0.8000; as published 0.8000"));
    EXPECT_THAT(text, HasSubstr("llmcf:  # trial 3 of 4: 0.8000; as published 0.7000"));
    EXPECT_THAT(text, HasSubstr("text:  # trial 3 of 4 of llmcf"));
    write_file(experiment.presets, text);
  }
  const std::string rate = value_of(draw(options, "llmcf", 3), "train.learning_rate");
  for (const Cell& cell : plan(experiment)) {
    const auto& train = cell.config.variants.front().train;
    const double found = train.get<double>("learning_rate", 0);
    EXPECT_EQ(found, cell.at.variant == "none" ? 0.01 : std::stod(rate)) << cell.at.label();
  }
}

TEST(Tune, RefusesASpaceThatMakesNoSense) {
  const auto failure = [](const std::string& tune) -> std::string {
    const Bench bench("tune: " + tune);
    try {
      TuneOptions::from(bench.load());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(failure("{trials: 2}"), HasSubstr("nothing to search"));
  EXPECT_THAT(failure("{space: [{key: a, log: [0, 1]}]}"), HasSubstr("[low, high]"));
  EXPECT_THAT(failure("{space: [{key: a, log: [1, 2], choice: [1]}]}"), HasSubstr("exactly one"));
  EXPECT_THAT(failure("{variants: [nonne], space: [{key: a, choice: [1]}]}"),
              HasSubstr("did you mean 'none'"));
}

}  // namespace
}  // namespace llmcf::pipeline::experiment
