// The training loop on a small shop: it learns, repeats itself, survives a kill and stops at NaN.
#include "train/trainer.h"

#include <chrono>
#include <csignal>
#include <limits>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/progress.h"
#include "core/safetensors.h"
#include "core/threads.h"
#include "train/shop.h"

namespace llmcf::train {
namespace {

using testing::Examples;
using testing::Shop;

constexpr const char* kChildDirectory = "LLMCF_TEST_TRAIN_DIRECTORY";

// A task with its data. Variant "none" or "ict".
class Scenario {
 public:
  explicit Scenario(const std::string& context,
                    const testing::ShopOptions& options = {.users = 150},
                    const std::string& backbone = "deepfm")
      : shop_(options), examples_(shop_, 16, 4) {
    set_progress_enabled(false);
    model_ = models::ModelOptions::from(
        Config::parse("{backbone: " + backbone +
                      ", embed_dim: 8, mlp: [16, 8], text_map: [16, 8], token_map: [16, 8], "
                      "ict: {reconstruction_map: [16]}, context: " +
                      context + "}"),
        "strict");
  }

  TrainTask task(const std::filesystem::path& directory) {
    store_ = std::make_unique<FeatureStore>(inputs_for(model_, examples_.inputs(shop_)),
                                            FeatureOptions{});
    TrainTask task;
    task.features = store_.get();
    if (models::uses_cot(model_.context)) task.example_text = examples_.cot();
    task.model = model_;
    task.directory = directory;
    task.name = "test";
    return task;
  }
  Examples& examples() { return examples_; }
  const Shop& shop() const { return shop_; }

 private:
  Shop shop_;
  Examples examples_;
  models::ModelOptions model_;
  std::unique_ptr<FeatureStore> store_;
};

TrainOptions quick_options() {
  TrainOptions options;
  options.epochs = 4;
  options.patience = 0;
  options.batch_size = 64;
  options.resamples = 50;
  options.threads = 1;  // tests share their machine
  return options;
}

// metrics.jsonl without what depends on the clock.
std::string metrics(const std::filesystem::path& directory) {
  std::istringstream lines(read_file(directory / "metrics.jsonl"));
  std::string text, line;
  while (std::getline(lines, line)) {
    auto json = nlohmann::ordered_json::parse(line);
    json.erase("time");
    text += json.dump() + "\n";
  }
  return text;
}

void expect_same_results(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_EQ(metrics(a), metrics(b));
  EXPECT_EQ(read_file(a / "best.safetensors"), read_file(b / "best.safetensors"));
  EXPECT_EQ(read_file(a / "test_scores.safetensors"), read_file(b / "test_scores.safetensors"));
}

TEST(Trainer, LearnsWhatIsPlanted) {
  const TemporaryDirectory directory;
  Scenario setup("none", {.users = 400});
  TrainOptions options = quick_options();
  options.epochs = 5;
  const TrainResult result = train(setup.task(directory.path()), options);
  EXPECT_GT(result.test.auc, 0.75);
  EXPECT_LT(result.test.auc_interval.low, result.test.auc);
  EXPECT_GT(result.test.auc_interval.high, result.test.auc);
  EXPECT_TRUE(result.test.group_auc.has_value());
  EXPECT_LT(result.epochs.back().train.total, result.epochs.front().train.total);
  EXPECT_TRUE(std::filesystem::exists(directory.path() / "events.out.tfevents.0.llmcf"));
}

TEST(Trainer, LearnsFromHistoriesItemByItem) {
  const TemporaryDirectory directory;
  Scenario setup("none", {.users = 400}, "din");
  TrainOptions options = quick_options();
  options.epochs = 5;
  EXPECT_GT(train(setup.task(directory.path()), options).test.auc, 0.75);
}

TEST(Trainer, WritesOneLinePerEpochAndAFinalOne) {
  const TemporaryDirectory directory;
  Scenario setup("none");
  const TrainResult result = train(setup.task(directory.path()), quick_options());
  std::istringstream lines(read_file(directory.path() / "metrics.jsonl"));
  std::vector<nlohmann::json> parsed;
  for (std::string line; std::getline(lines, line);)
    parsed.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(parsed.size(), 5U);
  EXPECT_EQ(parsed[0].at("event"), "epoch");
  EXPECT_EQ(parsed[4].at("event"), "final");
  EXPECT_EQ(parsed[4].at("test").at("auc"), result.test.auc);
  EXPECT_EQ(parsed[4].at("best_epoch"), result.best_epoch);
}

TEST(Trainer, RepeatsItselfByteForByte) {
  const TemporaryDirectory first, second;
  Scenario setup("ict");
  TrainOptions options = quick_options();
  options.epochs = 1;
  options.max_rows = 320;
  options.threads = 2;
  train(setup.task(first.path()), options);
  TrainOptions other = options;
  other.prefetch = 0;  // must not matter
  train(setup.task(second.path()), other);
  expect_same_results(first.path(), second.path());
}

TEST(Trainer, DependsOnTheSeed) {
  const TemporaryDirectory first, second;
  Scenario setup("none");
  TrainOptions options = quick_options();
  train(setup.task(first.path()), options);
  options.seed = 2024;
  train(setup.task(second.path()), options);
  EXPECT_NE(metrics(first.path()), metrics(second.path()));
}

TEST(Trainer, ContinuesAfterAnEpochAsIfNothingHappened) {
  for (const std::string context : {"none", "ict"}) {
    const TemporaryDirectory whole, parts;
    Scenario setup(context);
    train(setup.task(whole.path()), quick_options());
    TrainOptions options = quick_options();
    for (const int64_t epoch : {1, 3}) {
      options.stop_after_epoch = epoch;
      EXPECT_FALSE(train(setup.task(parts.path()), options).finished);
    }
    options.stop_after_epoch = 0;
    const TrainResult result = train(setup.task(parts.path()), options);
    EXPECT_TRUE(result.finished);
    EXPECT_EQ(result.epochs.size(), 4U);
    expect_same_results(whole.path(), parts.path());
  }
}

TEST(Trainer, GoesOnWhenMoreEpochsAreAsked) {
  const TemporaryDirectory whole, parts;
  Scenario setup("none");
  TrainOptions options = quick_options();
  train(setup.task(whole.path()), options);
  options.epochs = 2;
  train(setup.task(parts.path()), options);
  options.epochs = 4;
  train(setup.task(parts.path()), options);
  expect_same_results(whole.path(), parts.path());
  options.epochs = 2;  // fewer: the longer run is of no use
  EXPECT_EQ(train(setup.task(parts.path()), options).epochs.size(), 2U);
}

TEST(Trainer, GivesTheResultAgainWhenFinished) {
  const TemporaryDirectory directory;
  Scenario setup("none");
  const TrainResult first = train(setup.task(directory.path()), quick_options());
  const std::string before = metrics(directory.path());
  const TrainResult second = train(setup.task(directory.path()), quick_options());
  EXPECT_EQ(first.test.auc, second.test.auc);
  EXPECT_EQ(metrics(directory.path()), before);
}

TEST(Trainer, StartsAnewForAnotherConfiguration) {
  const TemporaryDirectory directory, fresh;
  Scenario setup("none");
  TrainOptions options = quick_options();
  train(setup.task(directory.path()), options);
  options.optimizer.learning_rate = 0.003;
  train(setup.task(directory.path()), options);
  train(setup.task(fresh.path()), options);
  expect_same_results(directory.path(), fresh.path());
}

// Not a test of its own: what the killed process runs.
TEST(TrainerChild, DISABLED_Trains) {
  Scenario setup("ict");
  TrainOptions options = quick_options();
  options.epochs = 8;
  train(setup.task(std::getenv(kChildDirectory)), options);
}

pid_t start_child(const std::filesystem::path& directory) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setenv(kChildDirectory, directory.c_str(), 1);
  ::execl("/proc/self/exe", "trainer_test", "--gtest_also_run_disabled_tests",
          "--gtest_filter=TrainerChild.*", "--gtest_brief=1", nullptr);
  ::_exit(127);
}

TEST(Trainer, EndsTheSameAfterKillsAnywhere) {
  const TemporaryDirectory whole, killed;
  Scenario setup("ict");
  TrainOptions options = quick_options();
  options.epochs = 8;
  train(setup.task(whole.path()), options);
  int64_t kills = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    // Until the checkpoint changes, then a little further, to land in the middle of things.
    const auto last = killed.path() / "last.safetensors";
    const auto stamp = [&] {
      return std::filesystem::exists(last) ? std::filesystem::last_write_time(last)
                                           : std::filesystem::file_time_type{};
    };
    const auto before = stamp();
    const pid_t child = start_child(killed.path());
    ASSERT_GT(child, 0);
    int status = 0;
    while (stamp() == before && ::waitpid(child, &status, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(3 * attempt));
    ::kill(child, SIGKILL);
    if (::waitpid(child, &status, 0) == child && WIFSIGNALED(status)) ++kills;
  }
  EXPECT_GT(kills, 1);
  train(setup.task(killed.path()), options);
  expect_same_results(whole.path(), killed.path());
}

TEST(Trainer, StopsAtNanAndNamesTheBatch) {
  const TemporaryDirectory directory;
  Scenario setup("text");
  const int32_t item = setup.shop().rows().train().item[0];
  setup.examples().item_text()[static_cast<size_t>(item) * 16] =
      std::numeric_limits<float>::quiet_NaN();
  try {
    train(setup.task(directory.path()), quick_options());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                ::testing::ContainsRegex("not finite.*epoch 1, step 1.*rows are [0-9]+, "));
  }
  const SafetensorsReader batch(directory.path() / "nan_batch.safetensors");
  EXPECT_EQ(batch.get<int64_t>("rows").size(), 64U);
  EXPECT_EQ(batch.metadata("step"), "1");
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "last.safetensors"));
}

TEST(Trainer, StopsWithoutProgress) {
  const TemporaryDirectory directory;
  Scenario setup("none");
  TrainOptions options = quick_options();
  options.epochs = 20;
  options.patience = 2;
  options.optimizer.learning_rate = 1e-12;  // nothing ever gets better
  options.optimizer.weight_decay = 0;
  const TrainResult result = train(setup.task(directory.path()), options);
  EXPECT_LE(result.epochs.size(), static_cast<size_t>(result.best_epoch) + 2);
  EXPECT_LT(result.epochs.size(), 20U);
}

TEST(Trainer, PredictsFromTheBestWeights) {
  const TemporaryDirectory directory;
  Scenario setup("ict");
  const TrainTask task = setup.task(directory.path());
  TrainOptions options = quick_options();
  options.threads = 2;  // other threads may give other last bits
  train(task, options);
  const auto best = directory.path() / "best.safetensors";
  const SafetensorsReader scores(directory.path() / "test_scores.safetensors");
  const auto recorded = scores.get<float>("logit");
  for (const int threads : {1, 3}) {
    const int before = thread_count();
    set_thread_count(threads);
    EXPECT_THAT(predict(task, options, best, data::Split::kTest),
                ::testing::ElementsAreArray(recorded));
    set_thread_count(before);
  }
}

TEST(Trainer, TrainsOnTheFirstRowsOnly) {
  const TemporaryDirectory directory;
  Scenario setup("none");
  TrainOptions options = quick_options();
  options.epochs = 1;
  options.max_rows = 100;
  EXPECT_EQ(train(setup.task(directory.path()), options).epochs[0].steps, 2);
}

TEST(TrainOptions, ReadTheSectionAndRejectUnknownKeys) {
  const TrainOptions options =
      TrainOptions::from(Config::parse("{epochs: 3, patience: 1, batch_size: 32, optimizer: adam, "
                                       "learning_rate: 0.5, history_length: 7}"));
  EXPECT_EQ(options.epochs, 3);
  EXPECT_EQ(options.optimizer.learning_rate, 0.5);
  EXPECT_THROW(TrainOptions::from(Config::parse("{epoch: 3}")), InputError);
  EXPECT_THROW(TrainOptions::from(Config::parse("{batch_size: 0}")), InputError);
}

}  // namespace
}  // namespace llmcf::train
