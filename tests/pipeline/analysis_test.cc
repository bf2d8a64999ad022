// The figures of an analysis over assignments worked out by hand, and over chance.
#include "pipeline/analysis.h"

#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/random.h"

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Columns {
  retrieval::Assignment assignment;
  std::vector<float> labels, pool_labels;
  std::vector<int32_t> users;

  AnalysisColumns view() const {
    return {.assignment = assignment, .labels = labels, .users = users, .pool_labels = pool_labels};
  }
  void add(float label, const std::vector<int32_t>& ids, const std::vector<float>& similarity) {
    labels.push_back(label);
    users.push_back(static_cast<int32_t>(labels.size()));
    assignment.ids.insert(assignment.ids.end(), ids.begin(), ids.end());
    assignment.similarity.insert(assignment.similarity.end(), similarity.begin(), similarity.end());
    // The targets say the opposite of the histories.
    for (const float value : similarity) {
      assignment.history_similarity.push_back(2 * value);
      assignment.target_similarity.push_back(-value);
    }
    assignment.k = static_cast<int64_t>(ids.size());
    ++assignment.rows;
  }
};

// Example 1 is positive, the others are not. The first row agrees with its examples.
Columns small() {
  Columns columns;
  columns.pool_labels = {0, 1, 0, 0};
  columns.add(1, {-1, 0, 1}, {0, 0.2F, 0.6F});
  columns.add(0, {-1, 0, 1}, {0, 0.5F, 0.3F});
  columns.add(0, {-1, -1, 2}, {0, 0, 0.4F});  // no positive example: no score
  columns.add(1, {-1, -1, -1}, {0, 0, 0});
  return columns;
}

RetrievalAnalysis analyse(const AnalysisColumns& columns,
                          const std::vector<RowProperty>& properties = {}) {
  RetrievalAnalysis analysis;
  add_figures(columns, properties, {.permutations = 199, .resamples = 50}, analysis);
  return analysis;
}

TEST(Analysis, CountsByHand) {
  const Columns columns = small();
  const RetrievalFigures all = analyse(columns.view()).all;
  EXPECT_EQ(all.rows, 4);
  EXPECT_DOUBLE_EQ(all.filled, 5.0 / 12);
  EXPECT_NEAR(all.positive, 0.45, 1e-6);
  EXPECT_NEAR(all.negative, 1.1 / 3, 1e-6);
  EXPECT_EQ(all.auc_rows, 2);
  EXPECT_DOUBLE_EQ(all.auc, 1);
  EXPECT_DOUBLE_EQ(all.history_auc, 1);
  EXPECT_DOUBLE_EQ(all.target_auc, 0);
  EXPECT_DOUBLE_EQ(all.same_label, 3.0 / 5);
  EXPECT_NEAR(all.weighted_same_label, (0.6 + 0.5 + 0.4) / 2.0, 1e-6);
  EXPECT_DOUBLE_EQ(all.coverage, 0.75);
  EXPECT_DOUBLE_EQ(all.top_percent, 0.4);  // one example of four, used twice of five times
  EXPECT_NEAR(all.gini, 2.0 * (2 * 1 + 3 * 2 + 4 * 2) / (4 * 5) - 5.0 / 4, 1e-12);
}

TEST(Analysis, BucketsHoldTheirOwnRowsOnly) {
  const Columns columns = small();
  const RowProperty property{
      .title = "t", .meaning = "m", .buckets = {.lows = {0, 2, 5}}, .values = {0, 7, 7, 0}};
  const auto cuts = analyse(columns.view(), {property}).cuts;
  ASSERT_EQ(cuts.size(), 1U);
  ASSERT_EQ(cuts[0].buckets.size(), 2U) << "the empty bucket is left out";
  const RetrievalFigures& second = cuts[0].buckets[1];
  EXPECT_EQ(second.name, "5+");
  EXPECT_EQ(second.rows, 2);
  EXPECT_NEAR(second.negative, 0.45, 1e-6);
  EXPECT_DOUBLE_EQ(second.coverage, 0.75);
  EXPECT_TRUE(std::isnan(second.auc)) << "one label only";
}

// 600 rows with two examples each, similar to a positive one if `related` and the row is positive.
Columns many(bool related) {
  Columns columns;
  Random random(3, "tests.analysis");
  columns.pool_labels = {0, 1};
  for (int row = 0; row < 600; ++row) {
    const auto label = static_cast<float>(row % 2);
    const float shift = related ? 0.1F * label : 0;
    columns.add(label, {0, 1},
                {0.5F + 0.1F * static_cast<float>(random.normal()),
                 0.5F + shift + 0.1F * static_cast<float>(random.normal())});
  }
  return columns;
}

TEST(Analysis, TheShuffledControlIsChanceAndTellsARelationFromNone) {
  const Columns related = many(true);
  const RetrievalFigures found = analyse(related.view()).all;
  // Scores of a positive and a negative row differ by 0.1 on average, with deviation 0.2.
  EXPECT_NEAR(found.auc, 0.6915, 0.05);
  EXPECT_LT(found.auc_interval.low, found.auc);
  EXPECT_GT(found.auc_interval.low, 0.6);
  EXPECT_NEAR(found.shuffled_auc, 0.5, 0.01);
  EXPECT_LT(found.shuffled_interval.high, found.auc);
  EXPECT_DOUBLE_EQ(found.p_value, 1.0 / 200);
  EXPECT_GT(found.weighted_same_label, 0.51);
  EXPECT_NEAR(found.shuffled_same_label, 0.5, 0.02);

  const Columns unrelated = many(false);
  const RetrievalFigures none = analyse(unrelated.view()).all;
  EXPECT_GT(none.p_value, 0.02);
  EXPECT_NEAR(none.auc, 0.5, 0.07);
}

TEST(Analysis, AttributesAreComparedWithThoseOfAnotherRowsExamples) {
  Columns columns;
  for (int32_t row = 0; row < 50; ++row) {
    columns.pool_labels.push_back(1);
    columns.add(1, {row}, {0.5F});
  }
  AnalysisColumns view = columns.view();
  view.attributes = {
      {"own", [](int64_t row, int32_t example) { return row == example ? 1.0 : 0.0; }},
      {"unknown", [](int64_t, int32_t) { return kNoFigure; }}};
  const auto attributes = analyse(view).all.attributes;
  ASSERT_EQ(attributes.size(), 2U);
  EXPECT_DOUBLE_EQ(attributes[0].share, 1);
  EXPECT_LT(attributes[0].shuffled, 0.2);
  EXPECT_TRUE(std::isnan(attributes[1].share));
}

TEST(Analysis, SameSeedSameFigures) {
  const Columns columns = many(true);
  EXPECT_EQ(analysis_json(analyse(columns.view())), analysis_json(analyse(columns.view())));
}

TEST(Analysis, RenderingsHoldTheFiguresAndEscapeMarkup) {
  const Columns columns = many(true);
  RetrievalAnalysis analysis = analyse(columns.view(), {{.title = "History length",
                                                         .meaning = "items",
                                                         .buckets = {.lows = {0}},
                                                         .values = std::vector<int64_t>(600, 0)}});
  analysis.title = "run <b>";
  analysis.frequent = {{.uses = 3, .target = "<script>alert(1)</script>", .cot = "a|b"}};
  const std::string auc = fmt::format("{:.3f}", analysis.all.auc);
  EXPECT_THAT(analysis_text(analysis), HasSubstr(auc));
  EXPECT_THAT(analysis_markdown(analysis), HasSubstr(auc));
  EXPECT_THAT(analysis_markdown(analysis), HasSubstr("a\\|b"));
  const std::string html = analysis_html(analysis);
  EXPECT_THAT(html, HasSubstr(auc));
  EXPECT_THAT(html, HasSubstr("chart-agreement-0"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(html, Not(HasSubstr("<script>alert(1)")));
  const auto json = nlohmann::json::parse(analysis_json(analysis));
  EXPECT_DOUBLE_EQ(json.at("all").at("auc").get<double>(), analysis.all.auc);
  EXPECT_EQ(json.at("cuts").at(0).at("buckets").at(0).at("rows"), 600);
}

}  // namespace
}  // namespace llmcf::pipeline
