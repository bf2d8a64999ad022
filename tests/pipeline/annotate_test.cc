// Judgements on disk, the sample of pairs, and what a report says.
#include "pipeline/annotate.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "pipeline/erasure.h"

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Annotation judgement(const std::string& annotator, int64_t row, std::optional<int64_t> grade,
                     double similarity) {
  return {
      .annotator = annotator,
      .split = "test",
      .query = {.user = fmt::format("user \"{}\"", row), .position = 3, .item = "i", .time = row},
      .example = {.user = "other\nuser", .position = 2, .item = "j", .time = 5},
      .similarity = similarity,
      .grade = grade,
      .time = 9};
}

class AnnotationsTest : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return directory_.path() / "annotations.jsonl"; }
  TemporaryDirectory directory_;
};

TEST_F(AnnotationsTest, AreReadAsTheyWereAppended) {
  EXPECT_TRUE(read_annotations(path()).empty());
  append_annotation(path(), judgement("anna", 1, 2, 0.25));
  append_annotation(path(), judgement("anna", 2, std::nullopt, 0.5));
  const auto read = read_annotations(path());
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].annotator, "anna");
  EXPECT_EQ(read[0].query, judgement("anna", 1, 2, 0.25).query);
  EXPECT_EQ(read[0].example.user, "other\nuser");
  EXPECT_EQ(read[0].grade, 2);
  EXPECT_EQ(read[0].similarity, 0.25);
  EXPECT_EQ(read[1].grade, std::nullopt);
}

TEST_F(AnnotationsTest, ATornLastLineIsCutOffByTheNextAppend) {
  append_annotation(path(), judgement("anna", 1, 2, 0.25));
  const std::string whole = read_file(path());
  write_file(path(), whole + whole.substr(0, whole.size() / 2));
  EXPECT_EQ(read_annotations(path()).size(), 1U);
  append_annotation(path(), judgement("anna", 2, 1, 0.5));
  const auto read = read_annotations(path());
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[1].query.time, 2);
}

TEST_F(AnnotationsTest, ADamagedLineIsAnErrorThatNamesIt) {
  append_annotation(path(), judgement("anna", 1, 2, 0.25));
  write_file(path(), read_file(path()) + "{\"annotator\": 3}\n");
  try {
    read_annotations(path());
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("annotations.jsonl:2"));
  }
}

TEST_F(AnnotationsTest, ErasedUsersAndTornLinesLeaveNoTrace) {
  Workspace workspace(directory_.path());
  append_annotation(path(), judgement("anna", 1, 2, 0.25));
  append_annotation(path(), judgement("anna", 2, 1, 0.5));
  Annotation by_example = judgement("anna", 3, 1, 0.5);
  by_example.example.user = "user \"1\"";
  append_annotation(path(), by_example);
  EXPECT_EQ(erase_annotations(workspace), 0);
  workspace.erase("user \"1\"");
  EXPECT_EQ(erase_annotations(workspace), 2);
  EXPECT_THAT(read_file(path()), Not(HasSubstr("\"1\\\"")));
  EXPECT_EQ(read_annotations(path()).size(), 1U);
  write_file(path(), read_file(path()) + "{\"annotator\": \"user 1");
  EXPECT_EQ(erase_annotations(workspace), 0);
  EXPECT_TRUE(read_file(path()).ends_with("}\n"));
}

TEST_F(AnnotationsTest, ADamagedLineDoesNotKeepAUserFromBeingErased) {
  Workspace workspace(directory_.path());
  append_annotation(path(), judgement("anna", 1, 2, 0.25));
  append_annotation(path(), judgement("anna", 2, 1, 0.5));
  write_file(path(), "{\"query\": {\"user\": \"user 1 damaged\n" + read_file(path()));
  std::filesystem::create_directories(workspace.pool().parent_path());
  {
    cot::Pool pool(workspace.pool());
    pool.set_sample(std::vector<cot::JobRow>{{.user = "user \"1\"", .position = 1, .item = "i"}},
                    "data");
  }
  EXPECT_EQ(erase_user(workspace, "user \"1\"", false), 1);
  EXPECT_TRUE(cot::Pool(workspace.pool()).users().empty());
  const auto left = read_annotations(path());
  ASSERT_EQ(left.size(), 1U) << "nor does it stay: it may name the user";
  EXPECT_EQ(left[0].query.time, 2);
  EXPECT_EQ(erase_user(workspace, "user \"1\"", false), 0) << "erasing again is no error";
}

// 200 rows with four examples each; every third row has none.
retrieval::Assignment assignment() {
  retrieval::Assignment result;
  result.rows = 300;
  result.k = 4;
  Random random(1, "tests.annotate");
  for (int64_t row = 0; row < result.rows; ++row) {
    for (int32_t slot = 0; slot < 4; ++slot) {
      result.ids.push_back(row % 3 == 0 ? -1 : slot);
      result.similarity.push_back(static_cast<float>(random.uniform()));
    }
  }
  return result;
}

bool same(const RetrievedPair& left, const RetrievedPair& right) {
  return left.row == right.row && left.example == right.example;
}

TEST(SamplePairs, ALargerSampleBeginsWithASmallerOne) {
  const auto found = assignment();
  const auto small = sample_pairs(found, 20, 7);
  const auto large = sample_pairs(found, 600, 7);
  ASSERT_EQ(small.size(), 20U);
  ASSERT_EQ(large.size(), 600U);
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin(), same));
  const auto other = sample_pairs(found, 20, 8);
  EXPECT_FALSE(std::equal(small.begin(), small.end(), other.begin(), same));
  EXPECT_EQ(sample_pairs(found, 5000, 7).size(), 800U);
}

TEST(SamplePairs, TakesDistinctRowsFromEveryFifthOfTheSimilarities) {
  std::set<int64_t> rows;
  std::vector<int> fifths(5, 0);
  for (const RetrievedPair& pair : sample_pairs(assignment(), 50, 7)) {
    EXPECT_GE(pair.example, 0);
    rows.insert(pair.row);
    ++fifths[static_cast<size_t>(pair.similarity * 5)];
  }
  EXPECT_EQ(rows.size(), 50U);
  for (const int count : fifths)
    EXPECT_NEAR(count, 10, 4);
  retrieval::Assignment masked;
  masked.rows = masked.k = 1;
  masked.ids = {-1};
  masked.similarity = {0};
  EXPECT_TRUE(sample_pairs(masked, 5, 1).empty());
}

TEST(AnnotationReport, FiguresByHand) {
  std::vector<Annotation> annotations;
  for (int64_t row = 0; row < 10; ++row)
    annotations.push_back(judgement("anna", row,
                                    row < 4   ? 0
                                    : row < 7 ? 1
                                              : 2,
                                    0.1 * static_cast<double>(row)));
  annotations.push_back(judgement("anna", 11, std::nullopt, 0));  // skipped: counts nowhere
  const std::string report = annotation_report(annotations, "test");
  EXPECT_THAT(report, HasSubstr("10 judgements of the test split by anna"));
  EXPECT_THAT(report, HasSubstr("AUC, relevant (2) against the rest"));
  EXPECT_THAT(report, HasSubstr("1.000 [1.000, 1.000]"));
  EXPECT_THAT(report, HasSubstr("0.800 ["));  // mean of .7, .8, .9
  EXPECT_THAT(report, HasSubstr("0.150 ["));  // of 0, .1, .2, .3
  EXPECT_THAT(report, Not(HasSubstr("kappa")));
  EXPECT_THAT(annotation_report(annotations, "valid"), HasSubstr("No judgements of the valid"));
}

TEST(AnnotationReport, KappaOverCommonPairsAndTheLastJudgementCounts) {
  std::vector<Annotation> annotations;
  for (int64_t row = 0; row < 9; ++row) {
    annotations.push_back(judgement("anna", row, row % 3, 0.5));
    annotations.push_back(judgement("bert", row, row % 3, 0.5));
  }
  annotations.push_back(judgement("bert", 50, 1, 0.5));
  const std::string agreed = annotation_report(annotations, "test");
  EXPECT_THAT(agreed, HasSubstr("anna and bert"));
  EXPECT_THAT(agreed, HasSubstr(" 9 "));
  EXPECT_THAT(agreed, HasSubstr("1.000 ["));
  for (int64_t row = 0; row < 9; ++row)
    annotations.push_back(judgement("bert", row, (row + 1) % 3, 0.5));
  EXPECT_THAT(annotation_report(annotations, "test"), HasSubstr("-0.500 ["));
}

}  // namespace
}  // namespace llmcf::pipeline
