// An engine asked from many threads answers as a generator asked alone.
#include "llm/engine.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "llm/generator.h"
#include "llm/toy_directory.h"

namespace llmcf::llm {
namespace {

class Engines : public ::testing::Test {
 protected:
  Engines() { testing::write_toy_directory(place_); }
  EngineOptions options() const {
    return {.model = place_, .adapter = {}, .device = "cpu", .slots = 4};
  }
  GenerationRequest ask(const Engine& engine, int number) const {
    GenerationRequest request{
        .prompt = engine.prompt({{Role::kUser, std::string(static_cast<size_t>(1 + number), 'x')}}),
        .sampling = {},
        .max_tokens = 5 + number,
        .stop = {}};
    request.seed = static_cast<uint64_t>(number);
    return request;
  }
  TemporaryDirectory directory_;
  std::filesystem::path place_ = directory_.path() / "toy";
};

TEST_F(Engines, AnswerFromManyThreadsAsAlone) {
  Engine engine(options());
  EXPECT_EQ(engine.name(), "toy");
  EXPECT_EQ(engine.capacity(), 96);
  const auto model = LanguageModel::load(place_, torch::kFloat, torch::kCPU);
  Generator generator(*model, engine.tokenizer(), {.slots = 1});
  constexpr int kAsking = 12;
  std::vector<std::string> found(kAsking), told(kAsking);
  std::vector<std::thread> threads;
  for (int i = 0; i < kAsking; ++i)
    threads.emplace_back([&, i] {
      const auto at = static_cast<size_t>(i);
      found[at] = engine
                      .generate(ask(engine, i),
                                [&told, at](std::string_view piece) {
                                  told[at] += piece;
                                  return true;
                                })
                      .get()
                      .text;
    });
  for (std::thread& thread : threads)
    thread.join();
  for (int i = 0; i < kAsking; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(found[at], generator.run({ask(engine, i)}).front().text);
    EXPECT_EQ(found[at], told[at]);
  }
}

TEST_F(Engines, EmbedTextsAsUnitVectors) {
  Engine engine(options());
  const auto a = engine.embed("red shoes"), b = engine.embed("blue hat");
  ASSERT_EQ(a.size(), 32U);
  double norm = 0;
  for (const float value : a)
    norm += value * value;
  EXPECT_NEAR(norm, 1, 1e-5);
  EXPECT_NE(a, b);
  EXPECT_EQ(a, engine.embed("red shoes"));
  EXPECT_THROW(engine.embed(""), Error);
}

TEST_F(Engines, LikelihoodsAreThoseOfReadingPromptAndAnswer) {
  Engine engine(options());
  const auto model = LanguageModel::load(place_, torch::kFloat, torch::kCPU);
  const auto prompt = engine.prompt({{Role::kUser, "would they?"}});
  const torch::NoGradGuard no_gradients;
  for (const std::vector<std::string>& answers :
       {std::vector<std::string>{"Yes", "No"}, {"y", "n"}, {"n", "yes", "y"}}) {
    std::vector<std::vector<int32_t>> ids;
    for (const std::string& answer : answers)
      ids.push_back(engine.tokenizer().encode(answer));
    const auto found = engine.log_likelihoods(prompt, ids);
    for (size_t a = 0; a < answers.size(); ++a) {
      std::vector<int64_t> all(prompt.begin(), prompt.end());
      all.insert(all.end(), ids[a].begin(), ids[a].end());
      const auto n = static_cast<int64_t>(all.size());
      const auto logits = model->logits(
          model->hidden({at::from_blob(all.data(), {1, n}, torch::kLong), {}, {}}))[0];
      double want = 0;
      for (size_t i = 0; i < ids[a].size(); ++i)
        want += logits[static_cast<int64_t>(prompt.size() + i) - 1]
                    .log_softmax(0)[ids[a][i]]
                    .item<double>();
      EXPECT_NEAR(found[a], want, 1e-4) << answers[a];
    }
  }
  EXPECT_THROW(engine.log_likelihoods(prompt, {{}}), Error);
}

TEST_F(Engines, EndWhileTheyAreBusy) {
  std::future<Generation> running;
  {
    Engine engine(options());
    auto request = ask(engine, 1);
    request.max_tokens = 1'000'000;
    running = engine.generate(std::move(request));
  }
  const Finish finish = running.get().finish;
  EXPECT_TRUE(finish == Finish::kCancelled || finish == Finish::kLength);
}

TEST_F(Engines, IdentityFollowsWhatAnswersDependOn) {
  const std::string before = model_identity(options());
  EXPECT_EQ(model_identity(options()), before);
  auto other = options();
  other.dtype = "bfloat16";
  EXPECT_NE(model_identity(other), before);
  other = options();
  other.slots = 9;
  EXPECT_EQ(model_identity(other), before) << "speed only";
  testing::write_toy_directory(directory_.path() / "second", 2);
  other.model = directory_.path() / "second";
  EXPECT_NE(model_identity(other), before);
  other.model = directory_.path() / "nothing";
  EXPECT_THROW(model_identity(other), InputError);
}

TEST_F(Engines, RefuseWhatTheyCannotDo) {
  auto bad = options();
  bad.device = "tpu";
  EXPECT_THROW(Engine{bad}, Error);
  bad = options();
  bad.dtype = "int4";
  EXPECT_THROW(Engine{bad}, Error);
  bad = options();
  bad.chat = "vicuna";
  EXPECT_THROW(Engine{bad}, Error);
  Engine engine(options());
  auto request = ask(engine, 1);
  request.prompt.assign(200, 5);
  EXPECT_THROW(engine.generate(request), Error);
}

}  // namespace
}  // namespace llmcf::llm
