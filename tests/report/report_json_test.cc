// The report survives JSON, and a file that does not fit is refused by name and path.
#include "pipeline/report/report_json.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "report/example_report.h"

namespace llmcf::pipeline {
namespace {

using testing::example_report;
using ::testing::HasSubstr;

std::string error_of(const std::string& text) {
  try {
    parse_report(text, "results.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

TEST(ReportJson, RoundTripRendersTheSameInEveryForm) {
  const ReportData data = example_report();
  const ReportData again = parse_report(report_json(data), "results.json");
  EXPECT_EQ(report_json(again), report_json(data));
  EXPECT_EQ(report_html(again), report_html(data));
  EXPECT_EQ(result_table_text(again), result_table_text(data));
  EXPECT_EQ(result_table_csv(again), result_table_csv(data));
}

TEST(ReportJson, MissingNumbersAreNullAndComeBack) {
  const ReportData data = example_report();
  const nlohmann::json json = data;
  EXPECT_TRUE(json["variants"][2]["metrics"][0]["per_seed"][2].is_null());
  EXPECT_TRUE(json["variants"][0]["metrics"][0]["p_value"].is_null());
  const auto again = json.get<ReportData>();
  EXPECT_TRUE(std::isnan(again.variants[2].metrics[0].per_seed[2]));
  EXPECT_EQ(again.variants[0].metrics[0].p_value, std::nullopt);
  EXPECT_EQ(again.variants[1].metrics[0].p_value, .0041);
  EXPECT_EQ(again.variants[1].metrics[0].per_seed, data.variants[1].metrics[0].per_seed);
  EXPECT_EQ(again.rows[0].examples[0].cot, data.rows[0].examples[0].cot);
}

TEST(ReportJson, AnEmptyReportSurvives) {
  const ReportData again = parse_report(report_json({}), "results.json");
  EXPECT_TRUE(again.variants.empty());
  EXPECT_NO_THROW(report_html(again));
}

TEST(ReportJson, BytesThatAreNotUtf8AreReplaced) {
  ReportData data = example_report();
  data.rows[0].target = "caf\xE9";
  EXPECT_EQ(parse_report(report_json(data), "results.json").rows[0].target, "caf\xEF\xBF\xBD");
}

TEST(ReportJson, UnknownKeysAreIgnored) {
  nlohmann::json json = example_report();
  json["from_the_future"] = 1;
  json["variants"][0]["colour"] = "blue";
  EXPECT_EQ(error_of(json.dump()), "(nothing was thrown)");
}

TEST(ReportJson, MissingOrMistypedFieldsAreNamedByPath) {
  nlohmann::json json = example_report();
  json["variants"][1]["metrics"][0].erase("per_seed");
  EXPECT_EQ(error_of(json.dump()), "results.json: 'variants[1].metrics[0].per_seed' is missing");
  json = example_report();
  json["curves"][0]["points"][1]["epoch"] = "two";
  EXPECT_EQ(error_of(json.dump()),
            "results.json: curves[0].points[1].epoch: expected an integer, found string");
  json = example_report();
  json["rows"] = 3;
  EXPECT_EQ(error_of(json.dump()), "results.json: rows: expected a list, found number");
  json = example_report();
  json["stages"][0]["skipped"] = 1;
  EXPECT_THAT(error_of(json.dump()), HasSubstr("stages[0].skipped: expected true or false"));
}

TEST(ReportJson, ContradictionsOtherFormatsAndBrokenTextAreRefused) {
  nlohmann::json json = example_report();
  json["seeds"] = {1};
  EXPECT_THROW(parse_report(json.dump(), "results.json"), Error);
  json = example_report();
  json["format"] = 99;
  EXPECT_THAT(error_of(json.dump()), HasSubstr("format 99 is not 1"));
  const std::string text = report_json(example_report());
  EXPECT_THAT(error_of(text.substr(0, text.size() / 2)), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("top: expected an object"));
}

}  // namespace
}  // namespace llmcf::pipeline
