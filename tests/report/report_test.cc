// Derived figures, verdicts and the result table in its three forms.
#include "pipeline/report/report.h"

#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "report/example_report.h"

namespace llmcf::pipeline {
namespace {

using testing::example_report;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricResult, MeanAndDeviationIgnoreSeedsWithoutAFigure) {
  const MetricResult result{.per_seed = {.80, std::nan(""), .84}};
  EXPECT_DOUBLE_EQ(mean_of(result), .82);
  EXPECT_NEAR(deviation_of(result), .02 * std::sqrt(2.0), 1e-12);
  EXPECT_TRUE(std::isnan(deviation_of({.per_seed = {.80}})));
  EXPECT_TRUE(std::isnan(mean_of({})));
}

TEST(Verdict, SaysWhatTheTestSays) {
  const ReportData data = example_report();
  EXPECT_EQ(verdict(data, 0, 0), "baseline");
  EXPECT_EQ(verdict(data, 1, 0), "better (p = .004, 3 seeds)");
  EXPECT_EQ(verdict(data, 2, 0), "not significant (p = .31, 2 seeds)");
}

TEST(Verdict, LowerLogLossIsBetter) {
  ReportData data = example_report();
  EXPECT_EQ(verdict(data, 1, 1), "better (p < .001, 3 seeds)");
  data.variants[1].metrics[1].per_seed = {.60, .61, .62};
  EXPECT_EQ(verdict(data, 1, 1), "worse (p < .001, 3 seeds)");
}

TEST(Verdict, WithoutATestSaysSo) {
  ReportData data = example_report();
  data.variants[1].metrics[0] = {.per_seed = {.8, std::nan(""), std::nan("")}};
  EXPECT_EQ(verdict(data, 1, 0), "not tested (1 seed)");
  data.variants[1].metrics[0].per_seed.clear();
  EXPECT_EQ(verdict(data, 1, 0), "–");
}

TEST(Verdict, ThresholdIsTheReports) {
  ReportData data = example_report();
  data.variants[1].metrics[0].p_value = .0499;
  EXPECT_EQ(verdict(data, 1, 0), "better (p = .050, 3 seeds)");
  data.significance = .01;
  EXPECT_THAT(verdict(data, 1, 0), HasSubstr("not significant"));
}

TEST(ResultTable, TextIsAligned) {
  const std::string table = result_table_text(example_report());
  EXPECT_EQ(
      table,
      R"(variant              AUC          LogLoss             GAUC       RelaImpr  verdict on AUC
-------  ---------------  ---------------  ---------------  -------------  ----------------------------------
none     0.7830 ± 0.0017  0.5614 ± 0.0015  0.7702 ± 0.0013              –  baseline
text     0.8051 ± 0.0010  0.5393 ± 0.0009  0.7925 ± 0.0008  7.83 ± 0.99 %  better (p = .004, 3 seeds)
llmcf    0.7830 ± 0.0056  0.5614 ± 0.0022  0.7722 ± 0.0032  0.28 ± 1.50 %  not significant (p = .31, 2 seeds)
)");
}

TEST(ResultTable, OneSeedShowsNoDeviation) {
  ReportData data;
  data.seeds = {1};
  data.metrics = {standard_metrics()[0]};
  data.variants = {{.name = "none", .description = "", .metrics = {{.per_seed = {.75}}}}};
  EXPECT_THAT(result_table_text(data), HasSubstr("none     0.7500  baseline"));
}

TEST(ResultTable, TerminalTextHasNoControlCharacters) {
  ReportData data = example_report();
  data.variants[1].name = "\x1b[31mred\nnext";
  EXPECT_THAT(result_table_text(data), Not(HasSubstr("\x1b")));
  EXPECT_THAT(result_table_text(data), HasSubstr(" [31mred next"));
}

TEST(ResultTable, MarkdownEscapesItsOwnSigns) {
  ReportData data = example_report();
  data.variants[1].name = "a|b_<c>";
  const std::string table = result_table_markdown(data);
  EXPECT_THAT(table, HasSubstr("| a\\|b\\_\\<c> |"));
  EXPECT_THAT(table, HasSubstr("| --- | ---: |"));
  std::istringstream lines(table);
  int64_t count = 0;
  for (std::string line; std::getline(lines, line);)
    ++count;
  EXPECT_EQ(count, 5);
}

TEST(ResultTable, CsvHasFullPrecisionAndQuotedFields) {
  ReportData data = example_report();
  data.variants[1].name = "a,\"b\"";
  const std::string table = result_table_csv(data);
  EXPECT_THAT(table, ::testing::StartsWith("variant,metric,mean,deviation,ci_low,ci_high,p_value,"
                                           "verdict,seed_2023,seed_2024,seed_2025\n"));
  EXPECT_THAT(table, HasSubstr("none,AUC,0.7829666666666667,"));
  EXPECT_THAT(table, HasSubstr("none,RelaImpr,,,,,,baseline,,,\n"));
  EXPECT_THAT(table, HasSubstr("\"a,\"\"b\"\"\",AUC,"));
  EXPECT_THAT(table, HasSubstr("\"not significant (p = .31, 2 seeds)\",0.7869,0.779,\n"));
}

TEST(CheckReport, NamesTheFieldThatDoesNotFit) {
  const auto message_of = [](const ReportData& data) -> std::string {
    try {
      result_table_text(data);
    } catch (const Error& error) {
      return error.what();
    }
    return "(nothing was thrown)";
  };
  ReportData data = example_report();
  EXPECT_EQ(message_of(data), "(nothing was thrown)");
  data.variants[1].metrics[0].per_seed.pop_back();
  EXPECT_THAT(message_of(data), HasSubstr("variant 'text', AUC has 2 entries, expected 3"));
  data = example_report();
  data.variants[2].metrics.pop_back();
  EXPECT_THAT(message_of(data), HasSubstr("variant 'llmcf' has 3 entries, expected 4"));
  data = example_report();
  data.slices[0].series[1].values.pop_back();
  EXPECT_THAT(message_of(data), HasSubstr("slice 'History length', text"));
  data = example_report();
  data.rows[4].scores.clear();
  EXPECT_THAT(message_of(data), HasSubstr("scores has 0 entries, expected 3"));
  data = example_report();
  data.similarity[0].edges.clear();
  EXPECT_THAT(message_of(data), HasSubstr("split 'train' has no bin edges"));
}

}  // namespace
}  // namespace llmcf::pipeline
