// Finished runs: kept as they are, one line each.
#include "pipeline/experiment/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::pipeline::experiment {
namespace {

using ::testing::HasSubstr;

Result result(const std::string& key, double auc) {
  return {.key = key,
          .experiment = "e",
          .at = {.backbone = "din", .variant = "none", .sweep = "k", .point = "8", .seed = 3},
          .auc = auc,
          .log_loss = 0.5,
          .group_auc = {},
          .auc_low = 0.1,
          .auc_high = 0.9,
          .valid = 0.75,
          .best_epoch = 2,
          .epochs = 3,
          .protocol = "strict",
          .config = "model: {}",
          .dataset = "d",
          .version = "0",
          .machine = "m",
          .finished = "2026-11-25"};
}

class Store : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return directory_.path() / "deep" / "results.jsonl"; }
  TemporaryDirectory directory_;
};

TEST_F(Store, FindsAgainWhatItSaved) {
  {
    ResultStore store(path());
    store.add(result("a", 0.7));
    store.add(result("b", 0.8));
    store.add(result("a", 0.75));
  }
  const ResultStore store(path());
  ASSERT_EQ(store.all().size(), 2U);
  EXPECT_EQ(result_line(*store.find("a")), result_line(result("a", 0.75)));
  EXPECT_EQ(store.find("a")->at.label(), "din none, k = 8, seed 3");
  EXPECT_FALSE(store.find("a")->group_auc.has_value());
  EXPECT_EQ(store.find("c"), nullptr);
}

TEST_F(Store, BelongsToOneProcessAtATime) {
  const ResultStore store(path());
  EXPECT_THROW(ResultStore{path()}, Error);
}

TEST_F(Store, NamesTheLineThatIsNoResult) {
  write_file(path(), result_line(result("a", 0.7)) + "\n{\"key\": \"b\"}\n");
  try {
    const ResultStore store(path());
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(error.line(), 2);
    EXPECT_THAT(error.what(), HasSubstr("remove the line"));
  }
}

TEST_F(Store, ReadsARunOnlyIfItFinished) {
  const auto run = directory_.path() / "run";
  const std::string epochs =
      R"({"event":"epoch","epoch":1,"steps":9,"train":{"loss":1.0,"click":1.0,"reconstruction":0.0,)"
      R"("distillation":0.0},"valid":{"auc":0.7,"log_loss":0.6},"time":{"rows_per_second":100.0}})"
      "\n"
      R"({"event":"epoch","epoch":1,"steps":9,"train":{"loss":1.0,"click":1.0,"reconstruction":0.0,)"
      R"("distillation":0.0},"valid":{"auc":0.6,"log_loss":0.7},"time":{"rows_per_second":300.0}})"
      "\n";
  write_file(run / "metrics.jsonl", epochs);
  EXPECT_THROW(read_run(run), Error);
  write_file(run / "metrics.jsonl",
             epochs +
                 R"({"event":"final","best_epoch":1,"test":{"auc":0.65,"auc_low":0.6,)"
                 R"("auc_high":0.7,"log_loss":0.62,"gauc":null,"rows":9}})" +
                 "\n");
  const Result found = read_run(run);
  EXPECT_EQ(found.auc, 0.65);
  EXPECT_EQ(found.valid, 0.7);
  EXPECT_EQ(found.epochs, 2);
  EXPECT_EQ(found.best_epoch, 1);
  EXPECT_FALSE(found.group_auc);
}

}  // namespace
}  // namespace llmcf::pipeline::experiment
