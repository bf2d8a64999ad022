// The stage runner: what makes a stage run again, and what lets it be skipped.
#include "pipeline/stage_runner.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::pipeline {
namespace {

class StageRunnerTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  Workspace workspace_{directory_.path() / "workspace"};
  int runs_ = 0;
  std::string content_ = "content";

  Stage stage(const std::string& key) {
    const auto output = workspace_.root() / "out.txt";
    return {.name = "import",
            .key = key,
            .outputs = {output},
            .work =
                [this, output] {
                  ++runs_;
                  write_file(output, content_);
                },
            .complete = {},
            .digest = {}};
  }
  std::string run(const std::string& key, std::set<std::string> force = {}) {
    StageRunner runner(workspace_, std::move(force));
    return runner.run(stage(key));
  }
};

TEST_F(StageRunnerTest, RunsOnceForOneKey) {
  const std::string first = run("a");
  EXPECT_EQ(run("a"), first);
  EXPECT_EQ(runs_, 1);
}

TEST_F(StageRunnerTest, RunsAgainWhenTheKeyChanges) {
  const std::string first = run("a");
  EXPECT_EQ(run("b"), first) << "the digest depends on the outputs only";
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, RunsAgainWhenAnOutputIsMissing) {
  run("a");
  std::filesystem::remove(workspace_.root() / "out.txt");
  run("a");
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, RunsAgainWhenAnOutputWasAltered) {
  run("a");
  write_file(workspace_.root() / "out.txt", "tampere");
  run("a");
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, SkipsWhenAnOutputWasOnlyTouched) {
  run("a");
  write_file(workspace_.root() / "out.txt", "content");
  run("a");
  EXPECT_EQ(runs_, 1);
}

TEST_F(StageRunnerTest, RunsAgainWhenForcedByNameOrFamily) {
  run("a");
  run("a", {"import"});
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, DamagedRecordCountsAsNone) {
  run("a");
  write_file(workspace_.state("import"), "{\"key\": ");
  run("a");
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, FailedWorkLeavesNoRecord) {
  run("a");
  Stage failing = stage("b");
  failing.work = [] { throw Error("no"); };
  StageRunner runner(workspace_, {});
  EXPECT_THROW(runner.run(failing), Error);
  EXPECT_FALSE(std::filesystem::exists(workspace_.state("import")));
}

TEST_F(StageRunnerTest, WorkThatMakesNoOutputIsAnError) {
  Stage lazy = stage("a");
  lazy.work = [] {};
  StageRunner runner(workspace_, {});
  EXPECT_THROW(runner.run(lazy), Error);
}

TEST_F(StageRunnerTest, DigestFollowsTheContent) {
  const std::string first = run("a");
  content_ = "other";
  EXPECT_NE(run("b"), first);
}

TEST_F(StageRunnerTest, IncompleteWorkRunsAgain) {
  Stage partial = stage("a");
  partial.complete = [] { return false; };
  StageRunner runner(workspace_, {});
  EXPECT_FALSE(runner.run(partial).empty()) << "what there is can be used";
  EXPECT_FALSE(runner.is_current(partial));
  run("a");
  EXPECT_EQ(runs_, 2);
}

TEST_F(StageRunnerTest, WhoSharesAWorkspaceUsesIncompleteWorkAndMakesNone) {
  Stage partial = stage("a");
  partial.complete = [] { return false; };
  StageRunner owner(workspace_, {});
  const std::string digest = owner.run(partial);
  StageRunner guest(workspace_, {});
  guest.require_current(true);
  EXPECT_EQ(guest.run(stage("a")), digest);
  EXPECT_EQ(runs_, 1);
  EXPECT_THROW(guest.run(stage("b")), Error);
  EXPECT_EQ(runs_, 1);
}

TEST_F(StageRunnerTest, ADatabaseIsJudgedByItsOwnDigest) {
  Stage database = stage("a");
  database.digest = [] { return std::string("rows 1"); };
  StageRunner runner(workspace_, {});
  const std::string first = runner.run(database);
  database.digest = [] { return std::string("rows 2"); };
  EXPECT_NE(runner.run(database), first) << "changed rows must reach what follows";
  EXPECT_EQ(runs_, 1);
}

TEST(WorkspaceTest, SecondProcessIsRefused) {
  const TemporaryDirectory directory;
  const Workspace first(directory.path() / "w");
  EXPECT_THROW(Workspace(directory.path() / "w"),
               Error);  // flock is per open file: the same process counts too
}

TEST(WorkspaceTest, OpeningRemovesWhatKilledProcessesLeft) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "w/data/rows.safetensors.tmp.123", "half");
  const Workspace workspace(directory.path() / "w");
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "w/data/rows.safetensors.tmp.123"));
}

TEST(WorkspaceTest, RemembersErasedUsersByDigestOnly) {
  const TemporaryDirectory directory;
  {
    Workspace workspace(directory.path() / "w");
    const std::string before = workspace.erased_digest();
    write_file(workspace.dataset(), "holds alice");
    workspace.erase("alice");
    EXPECT_NE(workspace.erased_digest(), before);
    EXPECT_FALSE(std::filesystem::exists(workspace.dataset()));
  }
  const Workspace again(directory.path() / "w");
  EXPECT_TRUE(again.is_erased("alice"));
  EXPECT_FALSE(again.is_erased("bob"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(again.root())) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(read_file(entry.path()).find("alice"), std::string::npos) << entry.path();
  }
}

}  // namespace
}  // namespace llmcf::pipeline
