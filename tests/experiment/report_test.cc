// Tables: what is there is shown with its spread and test, what is missing as a dash.
#include "pipeline/experiment/report.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/fixture.h"

namespace llmcf::pipeline::experiment {
namespace {

using testing::Bench;
using ::testing::HasSubstr;
using ::testing::Not;

class ExperimentTables : public ::testing::Test {
 protected:
  // AUC of a variant's seeds; fewer than three: the others have no result.
  void put(const std::string& variant, const std::vector<double>& aucs,
           const std::string& point = "") {
    for (const Cell& cell : cells_) {
      if (cell.at.variant != variant || cell.at.point != point) continue;
      const auto seed = static_cast<size_t>(cell.at.seed) - 1;
      if (seed >= aucs.size()) continue;
      store_.add({.key = cell.key,
                  .experiment = "bench",
                  .at = cell.at,
                  .auc = aucs[seed],
                  .log_loss = 1 - aucs[seed],
                  .group_auc = {},
                  .auc_low = {},
                  .auc_high = {},
                  .version = "1.2",
                  .machine = "a <machine>"});
    }
  }
  ExperimentReport report() { return summarise(experiment_, cells_, store_); }

  Bench bench_{
      "sweeps: [{name: k, title: Examples, key: retrieve.k, values: [2, 8], variants: [llmcf]}]"};
  Experiment experiment_ = bench_.load();
  std::vector<Cell> cells_ = plan(experiment_);
  ResultStore store_{experiment_.results};
};

TEST_F(ExperimentTables, ShowDashesWhereNothingWasTrained) {
  EXPECT_EQ(
      grid_text(overview_grid(report())),
      "variant  deepfm\n-------  ------\nnone          –\ntext          –\nllmcf         –\n");
  EXPECT_THAT(experiment_text(report()), HasSubstr("0 of 15 runs"));
  EXPECT_THAT(experiment_html(report()), HasSubstr("<title>bench</title>"));
}

TEST_F(ExperimentTables, MarkOnlySignificantDifferences) {
  put("none", {0.70, 0.71, 0.72});
  put("text", {0.75, 0.76, 0.775});
  put("llmcf", {0.60, 0.81, 0.75});
  const std::string table = grid_text(overview_grid(report()));
  EXPECT_THAT(table, HasSubstr("0.7617 ± 0.0126 ▲"));
  EXPECT_THAT(table, HasSubstr("0.7200 ± 0.1082\n")) << "a spread that hides any difference";
  EXPECT_THAT(experiment_latex(report()), HasSubstr("0.7617 $\\pm$ 0.0126 (+)"));
}

TEST_F(ExperimentTables, PairSeedsAndSayHowManyThereAre) {
  put("none", {0.70, 0.71, 0.72});
  put("llmcf", {0.75, 0.76});
  const ExperimentReport found = report();
  const std::string details = grid_csv(detail_grid(found));
  EXPECT_THAT(details, HasSubstr("0.7550 ± 0.0071 (2 of 3)"));
  EXPECT_THAT(details, HasSubstr("24.40 ± 0.84 %")) << "seed by seed: .25/.20 and .26/.21";
  EXPECT_EQ(compare(found.matrix[0].figures[0], found.matrix[1].figures[0]), std::nullopt);
}

TEST_F(ExperimentTables, DrawTheCurveOfASweep) {
  put("llmcf", {0.70, 0.71, 0.72}, "2");
  put("llmcf", {0.73, 0.74, 0.75}, "8");
  EXPECT_EQ(grid_text(sweep_grid(report(), experiment_.sweeps[0])),
            "Examples     deepfm llmcf\n--------  ---------------\n"
            "2         0.7100 ± 0.0100\n8         0.7400 ± 0.0100\n");
  const std::string html = experiment_html(report());
  EXPECT_THAT(html, HasSubstr("id=\"sweep-k\""));
  EXPECT_THAT(html, HasSubstr("a &lt;machine&gt;"));
  EXPECT_THAT(experiment_csv(report()), HasSubstr("deepfm,llmcf,,k,8,3,0.75,0.25,\n"));
}

}  // namespace
}  // namespace llmcf::pipeline::experiment
