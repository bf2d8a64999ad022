// Windows of a drift study, what is measured in them, and the thresholds.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "pipeline/drift_measures.h"
#include "pipeline/drift_windows.h"

namespace llmcf::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kDay = 86400;

// One row a day for 100 days, from 1970-01-01.
std::vector<int64_t> daily() {
  std::vector<int64_t> times;
  for (int64_t day = 0; day < 100; ++day)
    times.push_back(day * kDay);
  return times;
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

DriftOptions options_of(const std::string& yaml) {
  return DriftOptions::from(Config::parse(yaml));
}

TEST(DriftWindowsTest, EqualWindowsCoverEveryLaterRowOnce) {
  const auto times = daily();
  const TimeWindows windows =
      find_windows(times, options_of("{windows: 4, start_share: 0.6}"), 0.1);
  EXPECT_EQ(windows.begin(), 60 * kDay);
  EXPECT_EQ(windows.valid_from, 50 * kDay);
  std::vector<int64_t> rows(4, 0);
  for (const int64_t time : times) {
    if (time >= windows.begin()) ++rows[windows.of(time)];
  }
  EXPECT_THAT(rows, ElementsAre(10, 10, 10, 10));
  const data::TimeCuts model = windows.model_cuts();
  EXPECT_EQ(model.test_from, windows.begin());
  EXPECT_EQ(model.end, windows.bounds.back());
}

TEST(DriftWindowsTest, WindowsOfDaysStartWhereTheShareEnds) {
  const TimeWindows windows =
      find_windows(daily(), options_of("{windows: 3, window_days: 7, start_share: 0.5}"), 0.1);
  EXPECT_THAT(windows.bounds, ElementsAre(50 * kDay, 57 * kDay, 64 * kDay, 71 * kDay));
}

TEST(DriftWindowsTest, ExamplesEndBeforeTheLastWindowOrBeforeAll) {
  const TimeWindows windows = find_windows(daily(), options_of("{windows: 4}"), 0.1);
  EXPECT_EQ(windows.example_cuts(true).end, 90 * kDay);
  EXPECT_EQ(windows.example_cuts(false).end, windows.begin());
}

TEST(DriftWindowsTest, AnEmptyWindowIsAnErrorThatNamesIt) {
  const std::string said = error_of([] {
    find_windows(daily(), options_of("{windows: 9, window_days: 7, start_share: 0.6}"), 0.1);
  });
  EXPECT_THAT(said, HasSubstr("window 7 of 9"));
  EXPECT_THAT(said, HasSubstr("1970-04-10"));
  EXPECT_THAT(error_of([] { find_windows(daily(), options_of("{start_share: 0.3}"), 0.9); }),
              HasSubstr("no training"));
}

TEST(DriftOptionsTest, MistakesAreNamed) {
  EXPECT_THAT(error_of([] { options_of("{arms: [frozen, thawed]}"); }), HasSubstr("thawed"));
  EXPECT_THAT(error_of([] { options_of("{arms: [refreshed]}"); }), HasSubstr("frozen"));
  EXPECT_THAT(error_of([] { options_of("{max_auc_dorp: 0.1}"); }), HasSubstr("max_auc_drop"));
  EXPECT_THAT(error_of([] { options_of("{arms: [frozen], max_refresh_gain: 0}"); }),
              HasSubstr("refreshed"));
}

// Three examples, two test rows of one window.
class DriftPoolTest : public ::testing::Test {
 protected:
  std::vector<int32_t> user_ = {1, 1, 2}, item_ = {7, 8, 9}, position_ = {1, 2, 1};
  std::vector<float> label_ = {1, 0, 1};
  std::vector<int64_t> time_ = {10 * kDay, 20 * kDay, 40 * kDay};
  std::vector<int32_t> row_user_ = {3, 3}, row_item_ = {7, 5}, row_position_ = {1, 1};
  std::vector<float> row_label_ = {1, 0};
  std::vector<int64_t> row_time_ = {50 * kDay, 50 * kDay}, row_event_ = {0, 0};

  retrieval::Pool pool() const {
    return {.user = user_, .item = item_, .position = position_, .label = label_, .time = time_};
  }
  data::Rows rows() const {
    return {.user = row_user_,
            .item = row_item_,
            .position = row_position_,
            .label = row_label_,
            .time = row_time_,
            .event = row_event_};
  }
};

TEST_F(DriftPoolTest, CountsOnlyWhatIsOlderThanTheCut) {
  const retrieval::Assignment slots{.rows = 2,
                                    .k = 2,
                                    .ids = {0, 1, -1, 0},
                                    .similarity = {0.5F, 0.25F, 0, 0.75F},
                                    .history_similarity = {},
                                    .target_similarity = {}};
  const std::vector<int64_t> all = {0, 1};
  const DriftPool old = measure_pool(pool(), 30 * kDay, slots, rows(), all);
  EXPECT_EQ(old.examples, 2);
  EXPECT_DOUBLE_EQ(old.used, 1);
  EXPECT_DOUBLE_EQ(old.full_rows, 0.5);
  EXPECT_DOUBLE_EQ(old.similarity, 0.5);
  EXPECT_DOUBLE_EQ(old.positive_similarity, 0.625);
  EXPECT_DOUBLE_EQ(old.negative_similarity, 0.25);
  EXPECT_DOUBLE_EQ(old.item_coverage, 1);
  EXPECT_DOUBLE_EQ(old.age_days, 40);
  EXPECT_EQ(measure_pool(pool(), 50 * kDay, slots, rows(), all).examples, 3);
  EXPECT_DOUBLE_EQ(measure_pool(pool(), 5 * kDay, slots, rows(), all).item_coverage, 0);
}

TEST_F(DriftPoolTest, ScoresAreOfTheWindowsRowsOnly) {
  const std::vector<float> logits = {2, 1};
  const std::vector<int64_t> both = {0, 1}, one = {1};
  EXPECT_DOUBLE_EQ(score_window(rows(), both, logits).auc, 1);
  EXPECT_TRUE(std::isnan(score_window(rows(), one, logits).auc)) << "one label only";
  EXPECT_GT(score_window(rows(), one, logits).log_loss, 1);
}

MetricResult result(double value) {
  return {.per_seed = {value}, .interval = {}, .p_value = {}};
}

DriftData two_windows() {
  DriftData data;
  data.windows.resize(2);
  data.arms = {{.name = "frozen", .meaning = "", .windows = std::vector<DriftPool>(2)},
               {.name = "refreshed", .meaning = "", .windows = std::vector<DriftPool>(2)}};
  data.arms[0].windows[1].similarity = 0.4;
  data.arms[0].windows[1].full_rows = 0.9;
  data.arms[0].windows[1].item_coverage = 0.6;
  for (const auto& [arm, newest] : {std::pair("frozen", 0.70), std::pair("refreshed", 0.74)}) {
    data.series.push_back({.variant = "llmcf",
                           .arm = arm,
                           .auc = {result(0.75), result(newest)},
                           .log_loss = {result(1), result(1)},
                           .group_auc = {result(1), result(1)}});
  }
  return data;
}

TEST(DriftCheckTest, EachThresholdJudgesTheNewestWindow) {
  const DriftData data = two_windows();
  const auto violated = [&](const std::string& yaml) {
    const auto checks = check_drift(data, options_of(yaml));
    EXPECT_EQ(checks.size(), 1U);
    return checks.at(0).violated;
  };
  EXPECT_TRUE(violated("{max_auc_drop: 0.04}"));
  EXPECT_FALSE(violated("{max_auc_drop: 0.06}"));
  EXPECT_TRUE(violated("{max_refresh_gain: 0.03}"));
  EXPECT_FALSE(violated("{max_refresh_gain: 0.05}"));
  EXPECT_TRUE(violated("{min_similarity: 0.5}"));
  EXPECT_FALSE(violated("{min_similarity: 0.3}"));
  EXPECT_TRUE(violated("{min_coverage: 0.95}"));
  EXPECT_FALSE(violated("{min_coverage: 0.9}"));
  EXPECT_TRUE(violated("{min_item_coverage: 0.7}"));
  EXPECT_FALSE(violated("{min_item_coverage: 0.5}"));
  EXPECT_TRUE(check_drift(data, options_of("{windows: 2}")).empty());
}

TEST(DriftCheckTest, WhatCouldNotBeMeasuredIsViolated) {
  DriftData data = two_windows();
  data.arms[0].windows[1].similarity = std::nan("");
  EXPECT_TRUE(check_drift(data, options_of("{min_similarity: -1}")).at(0).violated);
}

}  // namespace
}  // namespace llmcf::pipeline
