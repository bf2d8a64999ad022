// Multiple-choice questions asked of a model that always answers C.
#include "pipeline/mmlu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "llm/new_model.h"
#include "llm/tuning_run.h"
#include "text/train_vocabulary.h"

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;

class MmluTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    set_progress_enabled(false);
    directory_ = std::make_unique<TemporaryDirectory>();
    std::vector<std::string> texts;
    for (int i = 0; i < 100; ++i)
      texts.push_back("A. one B. two C. three D. four Answer: C question number " +
                      std::to_string(i));
    text::train_vocabulary(texts, 310, path("tokenizer.model"));
    llm::new_model({.tokenizer = path("tokenizer.model"),
                    .hidden = 32,
                    .intermediate = 64,
                    .layers = 1,
                    .heads = 2,
                    .positions = 256},
                   path("start"));
    write_file(path("prose.txt"), "D. four\nAnswer: C\n\nD. nine\nAnswer: C\n");
    write_file(path("tune.yaml"),
               "model: start\nout: model\nvalid_share: 0\nlength: 64\ndata: [{path: prose.txt}]\n"
               "tune: {epochs: 80, rows_per_step: 1, learning_rate: 0.01, save_every: 0}\n");
    llm::run_tuning(Config::load(path("tune.yaml")));
    std::filesystem::create_directories(path("mmlu/dev"));
    std::filesystem::create_directories(path("mmlu/test"));
    write_file(path("mmlu/dev/small_things_dev.csv"),
               "one?,1,2,3,4,C\n\"two, or\n\"\"three\"\"?\",1,2,3,4,C\n");
    write_file(path("mmlu/test/small_things_test.csv"),
               "a?,1,2,3,4,C\nb?,1,2,3,4,A\nc?,1,2,3,4,C\nd?,1,2,3,4,C\n");
  }
  static void TearDownTestSuite() { directory_.reset(); }
  static std::filesystem::path path(const std::string& name) { return directory_->path() / name; }
  static MmluReport ask(MmluOptions options) {
    llm::Engine engine({.model = path("model")});
    options.data = path("mmlu");
    return run_mmlu(options, engine);
  }

  static std::unique_ptr<TemporaryDirectory> directory_;
};
std::unique_ptr<TemporaryDirectory> MmluTest::directory_;

TEST_F(MmluTest, CountsTheLettersThatAreRight) {
  const MmluReport report = ask({.shots = 2});
  ASSERT_EQ(report.subjects.size(), 1U);
  EXPECT_EQ(report.subjects[0].name, "small_things");
  EXPECT_EQ(report.questions, 4);
  EXPECT_EQ(report.right, 3);
  EXPECT_DOUBLE_EQ(report.accuracy(), 0.75);
}

TEST_F(MmluTest, LimitsQuestions) {
  EXPECT_EQ(ask({.shots = 0, .limit = 2}).right, 1);
}

TEST_F(MmluTest, ALetterThatIsNoneNamesFileAndLine) {
  write_file(path("mmlu/test/broken_test.csv"), "a?,1,2,3,4,C\nb?,1,2,3,4,E\n");
  try {
    ask({.shots = 0});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("broken_test.csv:2"));
    EXPECT_THAT(error.what(), HasSubstr("'E'"));
  }
  std::filesystem::remove(path("mmlu/test/broken_test.csv"));
}

}  // namespace
}  // namespace llmcf::pipeline
