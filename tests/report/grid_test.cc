// A table of texts keeps its content and its shape in every rendering.
#include "pipeline/report/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;

Grid example() {
  Grid grid = Grid::with_header({"variant", "AUC"});
  grid.rows.push_back({"ict_wocot, 50 %", "0.8012 ± 0.0010"});
  grid.rows.push_back({"a|b<c>", "–"});
  return grid;
}

TEST(Grid, AlignsWordsLeftAndNumbersRight) {
  EXPECT_EQ(grid_text(example()),
            "variant                      AUC\n"
            "---------------  ---------------\n"
            "ict_wocot, 50 %  0.8012 ± 0.0010\n"
            "a|b<c>                         –\n");
}

TEST(Grid, EscapesWhatEachRenderingGivesAMeaning) {
  EXPECT_THAT(grid_markdown(example()), HasSubstr("| a\\|b\\<c> | – |\n"));
  EXPECT_THAT(grid_markdown(example()), HasSubstr("| --- | ---: |\n"));
  EXPECT_THAT(grid_csv(example()), HasSubstr("\"ict_wocot, 50 %\",0.8012 ± 0.0010\n"));
  EXPECT_THAT(grid_latex(example()),
              HasSubstr("ict\\_wocot, 50 \\% & 0.8012 $\\pm$ 0.0010 \\\\\n"));
  EXPECT_THAT(grid_latex(example()), HasSubstr("\\begin{tabular}{lr}\n\\toprule\n"));
  EXPECT_THAT(grid_html(example(), "A & B"), HasSubstr("<caption>A &amp; B</caption>"));
  EXPECT_THAT(grid_html(example(), ""), HasSubstr("<th scope=\"row\">a|b&lt;c&gt;</th><td>–</td>"));
}

TEST(Grid, OfMakesTheFirstRowTheHeader) {
  const Grid grid = Grid::of({{"a", "b"}, {"x", "1"}});
  EXPECT_EQ(grid_text(grid), "a  b\n-  -\nx  1\n");
}

TEST(WithoutControl, ReplacesC0AndC1AndKeepsLetters) {
  EXPECT_EQ(without_control("a\x1b[2Jb\n"), "a [2Jb ");
  EXPECT_EQ(without_control("a\xc2\x9b"
                            "2Jb"),
            "a  2Jb");
  EXPECT_EQ(without_control("caf\xc3\xa9 \xc2\xb1"), "caf\xc3\xa9 \xc2\xb1");
}

}  // namespace
}  // namespace llmcf::pipeline
