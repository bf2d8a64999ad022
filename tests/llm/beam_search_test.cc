// Beam search against every text there is, by hand and through a generator: what it finds, what it
// draws, and that caches follow their beams.
#include "llm/beam_search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "llm/generator.h"
#include "llm/toy_model.h"

namespace llmcf::llm {
namespace {

using testing::ByteTokenizer;
using testing::toy_model;

// A model of few tokens whose logits depend on the two tokens before.
class FewTokens {
 public:
  explicit FewTokens(int32_t width) : width_(width), random_(3, "few tokens") {}

  std::vector<float> logits(const std::vector<int32_t>& ids) {
    const size_t n = ids.size();
    const std::pair key{n > 0 ? ids[n - 1] : -1, n > 1 ? ids[n - 2] : -1};
    auto& row = table_[key];
    while (static_cast<int32_t>(row.size()) < width_)
      row.push_back(static_cast<float>(1.5 * random_.normal()));
    return row;
  }
  double log_likelihood(const std::vector<int32_t>& ids) {
    double sum = 0;
    for (size_t i = 0; i < ids.size(); ++i)
      sum += log_probability(logits({ids.begin(), ids.begin() + static_cast<int64_t>(i)}), ids[i]);
    return sum;
  }

 private:
  int32_t width_;
  Random random_;
  std::map<std::pair<int32_t, int32_t>, std::vector<float>> table_;
};

std::vector<Generation> search(FewTokens& model, const GenerationRequest& request,
                               const std::vector<int32_t>& ends) {
  const ByteTokenizer tokenizer;
  BeamSearch beams(request, tokenizer, ends, 1000);
  std::vector<std::vector<int32_t>> texts(1);
  for (;;) {
    std::vector<std::vector<float>> rows;
    std::vector<std::span<float>> spans;
    for (const auto& text : texts)
      rows.push_back(model.logits(text));
    for (auto& row : rows)
      spans.emplace_back(row);
    const auto extensions = beams.advance(spans);
    if (extensions.empty()) return beams.results();
    std::vector<std::vector<int32_t>> next;
    for (const auto& [parent, token] : extensions) {
      next.push_back(texts[static_cast<size_t>(parent)]);
      next.back().push_back(token);
    }
    texts = std::move(next);
  }
}

// Every text of at most `length` tokens by its score, best first; `end` ends one.
std::vector<std::pair<double, std::vector<int32_t>>> all_texts(FewTokens& model, int32_t width,
                                                               int32_t end, size_t length) {
  std::vector<std::pair<double, std::vector<int32_t>>> found;
  std::vector<std::vector<int32_t>> open = {{}};
  while (!open.empty()) {
    const std::vector<int32_t> text = open.back();
    open.pop_back();
    for (int32_t token = 0; token < width; ++token) {
      std::vector<int32_t> longer = text;
      longer.push_back(token);
      const double score = model.log_likelihood(longer) / static_cast<double>(longer.size());
      if (token == end) {
        found.emplace_back(score, text);
      } else if (longer.size() == length) {
        found.emplace_back(score, longer);
      } else {
        open.push_back(longer);
      }
    }
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  return found;
}

TEST(BeamSearches, FindTheBestOfAllTextsWhereBeamsSuffice) {
  FewTokens model(5);
  GenerationRequest request{.prompt = {1}, .max_tokens = 3, .beams = 64, .returned = 10};
  request.sampling.temperature = 0;
  const auto want = all_texts(model, 5, 4, 3);
  const auto found = search(model, request, {4});
  ASSERT_EQ(found.size(), 10U);
  bool ended = false;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].ids, want[i].second) << i;
    ended = ended || found[i].finish == Finish::kEnd;
    EXPECT_EQ(found[i].finish == Finish::kLength, found[i].ids.size() == 3);
  }
  EXPECT_TRUE(ended) << "the end token takes part";
}

TEST(BeamSearches, FewBeamsFindAPrefixOfTheBest) {
  // With two beams and two tokens the best is found unless its first token is third or worse.
  FewTokens model(8);
  GenerationRequest request{.prompt = {1}, .max_tokens = 2, .beams = 2, .returned = 2};
  request.sampling.temperature = 0;
  const auto first = most_likely(model.logits({}), 2);
  std::pair<double, std::vector<int32_t>> best{-1e9, {}};
  for (const auto& [token, odds] : first)
    for (int32_t next = 0; next < 8; ++next)
      best = std::max(
          best, std::pair(model.log_likelihood({token, next}), std::vector<int32_t>{token, next}));
  EXPECT_EQ(search(model, request, {}).front().ids, best.second);
}

// Two beams take the best two of four tokens drawn without replacement.
TEST(BeamSearches, DrawWithoutReplacement) {
  FewTokens model(7);
  std::vector<double> weights;
  for (const float logit : model.logits({}))
    weights.push_back(std::exp(static_cast<double>(logit)));
  std::vector<double> want(7);  // that a token is the best one
  const auto enumerate = [&](auto&& self, std::vector<size_t> drawn, double odds) -> void {
    if (drawn.size() == 4) {
      want[*std::max_element(drawn.begin(), drawn.end(),
                             [&](size_t a, size_t b) { return weights[a] < weights[b]; })] += odds;
      return;
    }
    double left = 0;
    for (size_t i = 0; i < 7; ++i)
      if (std::find(drawn.begin(), drawn.end(), i) == drawn.end()) left += weights[i];
    for (size_t i = 0; i < 7; ++i) {
      if (std::find(drawn.begin(), drawn.end(), i) != drawn.end()) continue;
      auto longer = drawn;
      longer.push_back(i);
      self(self, longer, odds * weights[i] / left);
    }
  };
  enumerate(enumerate, {}, 1);
  std::vector<double> found(7);
  constexpr int kRuns = 20'000;
  GenerationRequest request{.prompt = {1}, .max_tokens = 1, .beams = 2, .returned = 2};
  for (int run = 0; run < kRuns; ++run) {
    request.seed = static_cast<uint64_t>(run);
    const auto results = search(model, request, {});
    ASSERT_NE(results[0].ids, results[1].ids);
    found[static_cast<size_t>(results[0].ids[0])] += 1.0 / kRuns;
  }
  for (size_t i = 0; i < 7; ++i)
    EXPECT_NEAR(found[i], want[i], 4 * std::sqrt(want[i] * (1 - want[i]) / kRuns) + 1e-9) << i;
}

TEST(BeamSearches, KeepWhatTopKAndTopPLeave) {
  FewTokens model(9);
  GenerationRequest request{.prompt = {1}, .max_tokens = 1, .beams = 2, .returned = 2};
  const auto likely = most_likely(model.logits({}), 3);
  for (const SamplingOptions& sampling :
       {SamplingOptions{.top_k = 3}, {.top_k = 1}, {.top_p = 0.0001}}) {
    request.sampling = sampling;
    const size_t kept = sampling.top_k == 3 ? 3 : 2;  // at least two go on
    for (uint64_t seed = 0; seed < 50; ++seed) {
      request.seed = seed;
      for (const Generation& result : search(model, request, {})) {
        const auto at = std::find_if(likely.begin(), likely.end(),
                                     [&](const auto& one) { return one.first == result.ids[0]; });
        EXPECT_LT(at - likely.begin(), static_cast<int64_t>(kept));
      }
    }
  }
}

class BeamGenerating : public ::testing::Test {
 protected:
  GenerationRequest ask(const std::string& prompt, double temperature = 0) const {
    GenerationRequest request{
        .prompt = tokenizer_.encode(prompt), .max_tokens = 12, .beams = 3, .returned = 3};
    request.sampling.temperature = temperature;
    return request;
  }
  // Log probabilities of the answer's tokens, the whole text read at once.
  std::vector<double> read(const GenerationRequest& request, const Generation& found) const {
    std::vector<int64_t> all(request.prompt.begin(), request.prompt.end());
    all.insert(all.end(), found.ids.begin(), found.ids.end());
    const auto n = static_cast<int64_t>(all.size());
    const torch::NoGradGuard no_gradients;
    const auto logits =
        model_->logits(model_->hidden({at::from_blob(all.data(), {1, n}, torch::kLong), {}, {}}));
    std::vector<double> result;
    for (size_t i = 0; i < found.ids.size(); ++i)
      result.push_back(logits[0][static_cast<int64_t>(request.prompt.size() + i) - 1]
                           .log_softmax(0)[found.ids[i]]
                           .item<double>());
    return result;
  }
  static double sum(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  }
  static std::vector<std::vector<int32_t>> ids(const std::vector<Generation>& generations) {
    std::vector<std::vector<int32_t>> result;
    for (const Generation& generation : generations) {
      result.push_back(generation.ids);
      for (const Generation& other : generation.others)
        result.push_back(other.ids);
    }
    return result;
  }

  ByteTokenizer tokenizer_;
  std::unique_ptr<LanguageModel> model_ = toy_model();
};

TEST_F(BeamGenerating, FindsWhatIsAtLeastAsLikelyAsTheGreedyText) {
  Generator generator(*model_, tokenizer_, {.slots = 8});
  int better = 0;
  for (const char* prompt : {"a", "red", "shoes", "why?", "lamp oil", "zz", "0", "x y z"}) {
    auto request = ask(prompt);
    request.max_tokens = 6;
    auto greedy = request;
    greedy.beams = greedy.returned = 1;
    const auto found = generator.run({request, greedy});
    const double beams = sum(read(request, found[0])), one = sum(read(greedy, found[1]));
    ASSERT_EQ(found[0].ids.size(), found[1].ids.size()) << "neither ends early here";
    EXPECT_GE(beams, one - 1e-4) << prompt;
    better += beams > one + 1e-3;
  }
  EXPECT_GE(better, 3) << "or three beams are for nothing";
}

TEST_F(BeamGenerating, CachesFollowTheirBeams) {
  Generator generator(*model_, tokenizer_, {.slots = 7});
  for (const double temperature : {0.0, 1.0}) {
    auto request = ask("which lamp?", temperature);
    request.log_probabilities = 1;
    auto other = ask("another prompt", temperature);
    other.max_tokens = 5;
    const auto found = generator.run({other, request});
    std::vector<Generation> results = found[1].others;
    results.push_back(found[1]);
    ASSERT_EQ(results.size(), 3U);
    for (const Generation& result : results) {
      const auto want = read(request, result);
      ASSERT_EQ(result.scores.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(result.scores[i].log_probability, want[i], 1e-4) << i;
    }
  }
}

TEST_F(BeamGenerating, DependsOnTheRequestAlone) {
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 8; ++i) {
    requests.push_back(ask(std::string(static_cast<size_t>(1 + 4 * i), 'q'), i % 2));
    requests.back().max_tokens = 4 + 3 * (i % 3);
    requests.back().seed = 7;
    if (i % 3 == 2) requests.back().beams = requests.back().returned = 1;
    if (i % 3 == 1) requests.back().returned = 2;
    if (i == 4) requests.back().sampling.repetition_penalty = 1.2;
    if (i == 5) requests.back().sampling.top_k = 10;
  }
  Generator alone(*model_, tokenizer_, {.slots = 3});
  std::vector<Generation> want;
  for (const auto& request : requests)
    want.push_back(alone.run({request}).front());
  EXPECT_EQ(want[0].others.size(), 2U);
  EXPECT_EQ(want[1].others.size(), 1U);
  for (const int64_t slots : {3, 4, 7, 16}) {
    Generator generator(*model_, tokenizer_, {.slots = slots});
    EXPECT_EQ(ids(generator.run(requests)), ids(want)) << slots << " slots";
    EXPECT_EQ(generator.running(), 0);
  }
  auto reseeded = requests;
  for (auto& request : reseeded)
    request.seed = 8;
  EXPECT_NE(ids(alone.run(reseeded)), ids(want));
}

TEST_F(BeamGenerating, OneBeamIsOrdinarySampling) {
  Generator generator(*model_, tokenizer_, {.slots = 2});
  auto plain = ask("hello", 1);
  plain.beams = plain.returned = 1;
  const auto one = generator.run({plain}).front();
  EXPECT_TRUE(one.others.empty());
  GenerationRequest usual{.prompt = plain.prompt, .max_tokens = plain.max_tokens};
  EXPECT_EQ(one.ids, generator.run({usual}).front().ids);
}

TEST_F(BeamGenerating, EndsBeforeStopTextsAtTheCapacityAndWhenCancelled) {
  Generator generator(*model_, tokenizer_, {.slots = 3, .capacity = 20});
  auto request = ask("0123456789");
  request.max_tokens = 1000;
  const Generation whole = generator.run({request}).front();
  EXPECT_EQ(whole.finish, Finish::kLength);
  EXPECT_EQ(whole.ids.size(), 10U);
  request.stop = {whole.text.substr(3, 2)};
  std::string told;
  Generation stopped;
  generator.submit(
      request, [&](Generation g) { stopped = std::move(g); },
      [&](std::string_view piece) {
        told += piece;
        return true;
      });
  while (generator.step()) {
  }
  EXPECT_EQ(stopped.text, told);
  EXPECT_EQ(stopped.text.find(request.stop[0]), std::string::npos);
  bool some_stopped = stopped.finish == Finish::kStop;
  for (const Generation& other : stopped.others) {
    EXPECT_EQ(other.text.find(request.stop[0]), std::string::npos);
    some_stopped = some_stopped || other.finish == Finish::kStop;
  }
  EXPECT_TRUE(some_stopped);
  int left = 4;
  generator.submit(
      ask("q"), [&](Generation g) { stopped = std::move(g); },
      [&](std::string_view) { return --left > 0; });
  while (generator.step()) {
  }
  EXPECT_EQ(stopped.finish, Finish::kCancelled);
  EXPECT_EQ(generator.running(), 0);
  request.beams = 4;
  EXPECT_THROW(generator.check(request), Error);
  request.beams = 2;
  EXPECT_THROW(generator.check(request), Error) << "three of two";
}

}  // namespace
}  // namespace llmcf::llm
