// Renderings of a drift study: every window and series is there, missing figures are dashes, texts
// are data.
#include "pipeline/report/drift_report.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MetricResult result(double first, double second) {
  return {.per_seed = {first, second}, .interval = {}, .p_value = {}};
}

DriftData example() {
  DriftData data;
  data.title = "shop <b>&";
  data.created = "2024-01-01 00:00 UTC";
  data.seeds = {1, 2};
  data.windows = {{.begin = "2023-01-01", .end = "2023-01-31", .rows = 1000},
                  {.begin = "2023-02-01", .end = "2023-02-28", .rows = 1200}};
  DriftPool empty;
  empty.similarity = empty.age_days = std::nan("");
  data.arms = {{.name = "frozen",
                .meaning = "old",
                .windows = {{.examples = 500, .similarity = 0.5, .age_days = 30}, empty}}};
  const std::vector<MetricResult> auc = {result(0.8, 0.7), result(0.6, 0.6)};
  data.series = {
      {.variant = "none", .arm = "", .auc = auc, .log_loss = auc, .group_auc = auc},
      {.variant = "a|b", .arm = "frozen", .auc = auc, .log_loss = auc, .group_auc = auc}};
  data.checks = {{.key = "min_similarity",
                  .what = "similarity",
                  .value = std::nan(""),
                  .limit = 0.4,
                  .violated = true}};
  return data;
}

TEST(DriftReportTest, CsvHasOneLinePerWindowAndSeries) {
  const std::string csv = drift_csv(example());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_THAT(csv, HasSubstr("2,2023-02-01,2023-02-28,1200,0,0,none,,0.6,0,"));
  EXPECT_THAT(csv, HasSubstr("a|b,frozen,0.75,"));
}

TEST(DriftReportTest, TablesShowMeansDeviationsAndDashes) {
  const std::string text = drift_text(example());
  EXPECT_THAT(text, HasSubstr("0.7500 ± 0.0707"));
  EXPECT_THAT(text, HasSubstr("–"));
  EXPECT_THAT(text, HasSubstr("violated  min_similarity – (at least 0.4)"));
  EXPECT_THAT(drift_markdown(example()), HasSubstr("a\\|b, frozen"));
}

TEST(DriftReportTest, JsonHoldsSeedsAndVerdict) {
  const auto json = nlohmann::json::parse(drift_json(example()));
  EXPECT_EQ(json.at("series").at(0).at("auc").at(0).at("per_seed").at(1), 0.7);
  EXPECT_TRUE(json.at("violated").get<bool>());
  EXPECT_TRUE(json.at("checks").at(0).at("value").is_null());
}

TEST(DriftReportTest, PageShowsTextsAsWrittenAndEveryChart) {
  const std::string page = drift_html(example());
  EXPECT_THAT(page, HasSubstr("shop &lt;b&gt;&amp;"));
  EXPECT_THAT(page, Not(HasSubstr("shop <b>")));
  for (const char* chart :
       {"chart-auc", "chart-loss", "chart-similarity", "chart-coverage", "chart-age"})
    EXPECT_THAT(page, HasSubstr(chart));
}

}  // namespace
}  // namespace llmcf::pipeline
