// Continuous batching: what is generated depends on the request alone; where texts end.
#include "llm/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "llm/toy_model.h"
#include "text/unicode.h"

namespace llmcf::llm {
namespace {

using testing::ByteTokenizer;
using testing::toy_model;

class Generating : public ::testing::Test {
 protected:
  GenerationRequest ask(const std::string& prompt, uint64_t seed = 1) const {
    GenerationRequest request{
        .prompt = tokenizer_.encode(prompt), .sampling = {}, .max_tokens = 40, .stop = {}};
    request.seed = seed;
    return request;
  }
  std::vector<GenerationRequest> requests() const {
    std::vector<GenerationRequest> all;
    for (int i = 0; i < 9; ++i) {
      all.push_back(
          ask(std::string(static_cast<size_t>(1 + 5 * i), static_cast<char>('a' + i)), 5));
      all.back().sample = i;
      all.back().max_tokens = 3 + 7 * (i % 4);
      if (i % 3 == 0) all.back().sampling.temperature = 0;
      if (i % 3 == 1) all.back().sampling = {.repetition_penalty = 1.3, .top_k = 20, .top_p = 0.9};
    }
    return all;
  }
  static std::vector<std::vector<int32_t>> ids(const std::vector<Generation>& generations) {
    std::vector<std::vector<int32_t>> result;
    for (const Generation& generation : generations)
      result.push_back(generation.ids);
    return result;
  }

  ByteTokenizer tokenizer_;
  std::unique_ptr<LanguageModel> model_ = toy_model();
};

TEST_F(Generating, DependsOnTheRequestAlone) {
  Generator alone(*model_, tokenizer_, {.slots = 1});
  const auto want = ids(alone.run(requests()));
  for (const int64_t slots : {2, 4, 16}) {
    Generator generator(*model_, tokenizer_, {.slots = slots});
    EXPECT_EQ(ids(generator.run(requests())), want) << slots << " slots";
    auto reversed = requests();
    std::reverse(reversed.begin(), reversed.end());
    auto found = ids(generator.run(reversed));
    std::reverse(found.begin(), found.end());
    EXPECT_EQ(found, want) << slots << " slots, the other way round";
  }
  auto others = requests();
  for (auto& request : others)
    request.seed = 6;
  EXPECT_NE(ids(alone.run(others)), want);
}

TEST_F(Generating, LikelihoodsAreThoseOfTheModelReadingTheWholeText) {
  auto request = ask("hello");
  request.log_probabilities = 2;
  Generator generator(*model_, tokenizer_, {.slots = 3});
  const Generation found = generator.run({request}).front();
  ASSERT_EQ(found.scores.size(), found.ids.size());
  std::vector<int64_t> all;
  for (const int32_t id : request.prompt)
    all.push_back(id);
  for (const int32_t id : found.ids)
    all.push_back(id);
  const auto n = static_cast<int64_t>(all.size());
  const torch::NoGradGuard no_gradients;
  const auto logits =
      model_->logits(model_->hidden({at::from_blob(all.data(), {1, n}, torch::kLong), {}, {}}));
  for (size_t i = 0; i < found.ids.size(); ++i) {
    const auto row = logits[0][static_cast<int64_t>(request.prompt.size() + i) - 1].log_softmax(0);
    EXPECT_NEAR(row[found.ids[i]].item<float>(), found.scores[i].log_probability, 1e-4);
    ASSERT_EQ(found.scores[i].alternatives.size(), 2U);
    EXPECT_EQ(row.argmax().item<int64_t>(), found.scores[i].alternatives[0].first);
  }
}

TEST_F(Generating, StopsBeforeAStopStringAndNeverTellsItsBeginning) {
  Generator generator(*model_, tokenizer_, {.slots = 2});
  const std::string free = generator.run({ask("x", 3)}).front().text;
  ASSERT_GE(free.size(), 12U);
  auto request = ask("x", 3);
  request.stop = {"never to be seen", free.substr(5, 3), free.substr(5, 6)};
  std::string told;
  Generation found;
  generator.submit(
      request, [&](Generation g) { found = std::move(g); },
      [&](std::string_view piece) {
        told += piece;
        EXPECT_LE(told.size(), 5U) << "a stop string had begun";
        return true;
      });
  while (generator.step()) {
  }
  EXPECT_EQ(found.text, free.substr(0, free.find(free.substr(5, 3))));
  EXPECT_EQ(found.text, told);
  EXPECT_EQ(found.finish, Finish::kStop);
}

TEST_F(Generating, TellsWholeCharactersOnly) {
  // Random bytes: whatever is told before the end is valid as far as it can be.
  Generator generator(*model_, tokenizer_, {.slots = 2});
  std::string told;
  std::string whole;
  generator.submit(
      ask("bytes", 11), [&](Generation g) { whole = g.text; },
      [&](std::string_view piece) {
        told += piece;
        return true;
      });
  while (generator.step()) {
  }
  EXPECT_EQ(told, whole);
}

TEST_F(Generating, EndsAtTheLimitAtTheCapacityAndWhenCancelled) {
  Generator generator(*model_, tokenizer_, {.slots = 2, .capacity = 20});
  auto limited = ask("abc");
  limited.max_tokens = 4;
  limited.sampling.temperature = 0;
  auto endless = ask("abcdefghij");
  endless.max_tokens = 1000;
  endless.sampling.temperature = 0;
  const auto found = generator.run({limited, endless});
  EXPECT_EQ(found[0].finish, Finish::kLength);
  EXPECT_EQ(found[0].ids.size(), 4U);
  EXPECT_EQ(found[1].finish, Finish::kLength);
  EXPECT_EQ(found[1].ids.size(), 10U) << "a slot of 20 holds 10 beside the prompt";
  Generation cancelled;
  generator.submit(
      ask("q"), [&](Generation g) { cancelled = std::move(g); },
      [](std::string_view) { return false; });
  while (generator.step()) {
  }
  EXPECT_EQ(cancelled.finish, Finish::kCancelled);
  EXPECT_EQ(generator.running(), 0);
}

TEST_F(Generating, GoesOnAfterAnException) {
  Generator generator(*model_, tokenizer_, {.slots = 2});
  std::vector<Finish> finished;
  const auto on_done = [&](Generation g) { finished.push_back(g.finish); };
  int left = 3;
  generator.submit(ask("a"), on_done, [&](std::string_view) {
    if (--left == 0) throw Error("out of memory");
    return true;
  });
  generator.submit(ask("b"), on_done);
  generator.submit(ask("c"), on_done);  // waits
  EXPECT_THROW(
      {
        while (generator.step()) {
        }
      },
      Error);
  generator.cancel_all();
  EXPECT_EQ(finished, std::vector<Finish>(3, Finish::kCancelled));
  EXPECT_EQ(generator.running() + generator.waiting(), 0);
  Generator fresh(*model_, tokenizer_, {.slots = 2});
  EXPECT_EQ(generator.run({ask("d")}).front().ids, fresh.run({ask("d")}).front().ids);
}

TEST_F(Generating, TheEndTokenEndsTheText) {
  ModelConfig config = testing::toy_config();
  for (int32_t id = 0; id < 259; ++id)
    config.end_ids.push_back(id);  // everything does
  const auto model = toy_model(1, config);
  Generator generator(*model, tokenizer_, {.slots = 1});
  const Generation found = generator.run({ask("abc")}).front();
  EXPECT_EQ(found.finish, Finish::kEnd);
  EXPECT_EQ(found.text, "");
  EXPECT_TRUE(found.ids.empty());
}

TEST_F(Generating, RefusesWhatDoesNotFit) {
  Generator generator(*model_, tokenizer_, {.slots = 1, .capacity = 8});
  EXPECT_THROW(generator.submit(ask(""), {}), Error);
  EXPECT_THROW(generator.submit(ask("12345678"), {}), Error);
  auto bad = ask("a");
  bad.prompt = {259};
  EXPECT_THROW(generator.submit(bad, {}), Error);
  bad = ask("a");
  bad.stop = {""};
  EXPECT_THROW(generator.submit(bad, {}), Error);
  bad = ask("a");
  bad.sampling.top_p = 2;
  EXPECT_THROW(generator.submit(bad, {}), Error);
  EXPECT_THROW(Generator(*model_, tokenizer_, {.slots = 0}), Error);
  EXPECT_THROW(Generator(*model_, tokenizer_, {.slots = 1, .capacity = 97}), Error);
  EXPECT_EQ(generator.waiting(), 0);
}

}  // namespace
}  // namespace llmcf::llm
