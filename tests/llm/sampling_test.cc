// Sampling against distributions worked out by hand.
#include "llm/sampling.h"

#include <cmath>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace llmcf::llm {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pair;

// Probabilities .5, .25, .125, .125.
const std::vector<float> kLogits = {std::log(4.0F), std::log(2.0F), 0, 0};

std::map<int32_t, double> shares(const SamplingOptions& options, std::vector<int32_t> seen = {}) {
  Random random(7, "draws");
  constexpr int kDraws = 40000;
  std::map<int32_t, double> result;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> logits = kLogits;
    result[sample(logits, seen, options, random)] += 1.0 / kDraws;
  }
  return result;
}

TEST(Sampling, DrawsFromTheDistribution) {
  const auto near = [](double p) { return DoubleNear(p, 0.01); };
  EXPECT_THAT(shares({}), ElementsAre(Pair(0, near(.5)), Pair(1, near(.25)), Pair(2, near(.125)),
                                      Pair(3, near(.125))));
  EXPECT_THAT(shares({.temperature = 0.5}),
              ElementsAre(Pair(0, near(16 / 22.0)), Pair(1, near(4 / 22.0)),
                          Pair(2, near(1 / 22.0)), Pair(3, near(1 / 22.0))));
  EXPECT_THAT(shares({.top_k = 2}), ElementsAre(Pair(0, near(2 / 3.0)), Pair(1, near(1 / 3.0))));
  EXPECT_THAT(shares({.top_p = 0.75}), ElementsAre(Pair(0, near(2 / 3.0)), Pair(1, near(1 / 3.0))));
  EXPECT_THAT(shares({.top_p = 0.76}),
              ElementsAre(Pair(0, near(4 / 7.0)), Pair(1, near(2 / 7.0)), Pair(2, near(1 / 7.0))));
  EXPECT_THAT(shares({.top_p = 0.01}), ElementsAre(Pair(0, near(1))));
  EXPECT_THAT(shares({.temperature = 0}), ElementsAre(Pair(0, near(1))));
}

TEST(Sampling, PenaltyLowersWhatWasSeen) {
  // Id 0: log 4 / 2 = log 2; ids 2 and 3 have logit 0, which no factor changes.
  const auto found = shares({.repetition_penalty = 2}, {0, 0, 3});
  EXPECT_NEAR(found.at(0), 2 / 6.0, 0.01);
  EXPECT_NEAR(found.at(3), 1 / 6.0, 0.01);
  std::vector<float> negative = {-1, -1};
  penalise(negative, std::vector<int32_t>{1}, 2);
  EXPECT_THAT(negative, ElementsAre(-1, -2));
}

TEST(Sampling, TheSameStreamDrawsTheSame) {
  for (const uint64_t seed : {1, 2}) {
    Random one(seed, "a"), two(seed, "a");
    for (int i = 0; i < 50; ++i) {
      auto a = kLogits, b = kLogits;
      EXPECT_EQ(sample(a, {}, {}, one), sample(b, {}, {.top_p = 1}, two));
    }
  }
}

TEST(Sampling, LogProbabilitiesAreThoseOfTheSoftmax) {
  EXPECT_NEAR(log_probability(kLogits, 1), std::log(0.25), 1e-6);
  const auto best = most_likely(kLogits, 3);
  EXPECT_THAT(best, ElementsAre(Pair(0, ::testing::FloatNear(std::log(0.5F), 1e-6F)),
                                Pair(1, ::testing::_), Pair(2, ::testing::_)));
  EXPECT_EQ(most_likely(kLogits, 0).size(), 0U);
  EXPECT_EQ(most_likely(kLogits, 9).size(), 4U);
}

TEST(Sampling, RefusesWhatIsOutOfRange) {
  EXPECT_THROW(SamplingOptions{.temperature = -1}.check(), Error);
  EXPECT_THROW(SamplingOptions{.top_k = -1}.check(), Error);
  EXPECT_THROW(SamplingOptions{.top_p = 0}.check(), Error);
  EXPECT_THROW(SamplingOptions{.repetition_penalty = 0}.check(), Error);
  EXPECT_THROW(SamplingOptions{.temperature = std::nan("")}.check(), Error);
}

}  // namespace
}  // namespace llmcf::llm
