// Child processes: this program itself, asked to run one of its disabled tests.
#include "pipeline/experiment/jobs.h"

#include <csignal>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/files.h"

namespace llmcf::pipeline::experiment {
namespace {

using ::testing::HasSubstr;

TEST(Child, DISABLED_Succeeds) {}
TEST(Child, DISABLED_Fails) {
  FAIL() << "a reason for people";
}
TEST(Child, DISABLED_Sleeps) {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
}
TEST(Child, DISABLED_IsKilled) {
  ::raise(SIGKILL);
}
TEST(Child, DISABLED_TakesTooMuchMemory) {
  std::vector<char> much(size_t{3} << 30, 'x');
  EXPECT_EQ(much.back(), 'x');
}

class Jobs : public ::testing::Test {
 protected:
  Job job(const std::string& name) {
    return {
        .arguments = {"--gtest_also_run_disabled_tests", "--gtest_filter=Child.DISABLED_" + name},
        .log = directory_.path() / "logs" / (name + ".log")};
  }

  std::vector<JobOutcome> run(const std::vector<Job>& jobs, const JobLimits& limits) {
    std::vector<JobOutcome> outcomes(jobs.size());
    run_jobs(
        jobs, limits, [&](size_t) { most_ = std::max(most_, ++running_); },
        [&](size_t job, const JobOutcome& outcome) {
          --running_;
          outcomes[job] = outcome;
        });
    return outcomes;
  }

  TemporaryDirectory directory_;
  int running_ = 0, most_ = 0;
};

TEST_F(Jobs, ToldHowEachEnded) {
  const auto outcomes = run({job("Succeeds"), job("Fails"), job("IsKilled")}, {.processes = 1});
  EXPECT_TRUE(outcomes[0].succeeded);
  EXPECT_GT(outcomes[0].peak_mib, 0);
  EXPECT_FALSE(outcomes[1].succeeded);
  EXPECT_THAT(outcomes[1].reason, HasSubstr("1 FAILED TEST"));
  EXPECT_THAT(outcomes[1].reason, HasSubstr("Fails.log"));
  EXPECT_THAT(read_file(directory_.path() / "logs" / "Fails.log"),
              HasSubstr("a reason for people"));
  EXPECT_FALSE(outcomes[2].succeeded);
  EXPECT_THAT(outcomes[2].reason, HasSubstr("killed by signal 9"));
}

TEST_F(Jobs, RunsAsManyAtOnceAsAllowed) {
  run({job("Sleeps"), job("Sleeps"), job("Sleeps"), job("Sleeps")}, {.processes = 2});
  EXPECT_EQ(most_, 2);
}

TEST_F(Jobs, StopsAProcessThatTakesTooMuchMemory) {
  const auto outcomes =
      run({job("TakesTooMuchMemory"), job("Succeeds")}, {.processes = 1, .memory_mib = 1024});
  EXPECT_FALSE(outcomes[0].succeeded);
  EXPECT_THAT(outcomes[0].reason, HasSubstr("jobs.memory_mib = 1024"));
  EXPECT_TRUE(outcomes[1].succeeded);
}

TEST_F(Jobs, StartsNothingWhenTimeIsUp) {
  int started = 0;
  run_jobs(
      {job("Succeeds"), job("Succeeds")},
      {.processes = 1, .may_start = [&] { return started == 0; }}, [&](size_t) { ++started; },
      [](size_t, const JobOutcome&) {});
  EXPECT_EQ(started, 1);
}

TEST(ProcessesFor, TakesTheNumberAskedForAndNeverNone) {
  EXPECT_EQ(processes_for(7, 1, 1000), 7);
  EXPECT_EQ(processes_for(0, 1, 1), std::max(1U, std::thread::hardware_concurrency()))
      << "one per core where memory allows";
  EXPECT_EQ(processes_for(0, 1, int64_t{1} << 40), 1) << "memory for none: still one";
  EXPECT_EQ(processes_for(0, 1 << 20, 1), 1);
}

}  // namespace
}  // namespace llmcf::pipeline::experiment
