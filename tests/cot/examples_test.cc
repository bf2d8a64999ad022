// Which accepted answers become examples, and how much of their text.
#include "cot/examples.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "cot/generate.h"
#include "cot/template_reasoner.h"
#include "fake_encoder.h"
#include "shop.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// A pool in which every training row of the shop has an accepted answer.
class ExamplesTest : public ::testing::Test {
 protected:
  ExamplesTest() : pool_((set_progress_enabled(false), shop_.path("pool.sqlite"))) {
    GenerateOptions options;
    options.share = 1;
    options.candidates = 1;
    generate({.dataset = shop_.dataset(),
              .rows = shop_.rows(),
              .prompt = Prompt::builtin("cot_default"),
              .reasoner = TemplateReasoner(),
              .encoder = encoder_},
             pool_, options);
  }

  ExampleSet write(const ExampleOptions& options) const {
    write_examples(pool_, shop_.dataset(), shop_.rows(), encoder_, shop_.path("examples"), options);
    return ExampleSet(shop_.path("examples"));
  }
  std::set<int64_t> answers(const ExampleOptions& options) const {
    const ExampleSet examples = write(options);
    return {examples.answer().begin(), examples.answer().end()};
  }
  std::string error(const ExampleOptions& options) const {
    return error_of([&] { write(options); });
  }

  Shop shop_;
  FakeEncoder encoder_;
  Pool pool_;
};

bool contains(const std::set<int64_t>& large, const std::set<int64_t>& small) {
  return std::includes(large.begin(), large.end(), small.begin(), small.end());
}

TEST_F(ExamplesTest, MinScoreLeavesOutLowerScoresOnly) {
  const ExampleSet all = write({});
  std::vector<float> scores(all.score().begin(), all.score().end());
  std::sort(scores.begin(), scores.end());
  const double floor = scores[scores.size() / 2];
  ASSERT_LT(scores.front(), floor);
  const ExampleSet some = write({.min_score = floor - 1e-6});
  EXPECT_EQ(some.size(), std::count_if(scores.begin(), scores.end(),
                                       [&](float score) { return score >= floor - 1e-6; }));
  for (const float score : some.score())
    EXPECT_GE(score, floor - 1e-6);
}

TEST_F(ExamplesTest, TopShareKeepsTheBestOfEachLabel) {
  const ExampleSet all = write({});
  std::map<float, std::multiset<float>> scores;
  for (size_t index = 0; index < all.label().size(); ++index)
    scores[all.label()[index]].insert(all.score()[index]);
  const ExampleSet top = write({.top_share = 0.3});
  std::map<float, std::multiset<float>> kept;
  for (size_t index = 0; index < top.label().size(); ++index)
    kept[top.label()[index]].insert(top.score()[index]);
  ASSERT_EQ(scores.size(), 2U);
  for (const auto& [label, every] : scores) {
    const auto wanted = static_cast<size_t>(std::ceil(0.3 * static_cast<double>(every.size())));
    const std::multiset<float> best(std::prev(every.end(), static_cast<std::ptrdiff_t>(wanted)),
                                    every.end());
    EXPECT_EQ(kept[label], best) << "label " << label;
  }
  EXPECT_TRUE(std::is_sorted(top.time().begin(), top.time().end()));
}

TEST_F(ExamplesTest, ATinyTopShareKeepsOneOfEachLabel) {
  const ExampleSet top = write({.top_share = 1e-6});
  ASSERT_EQ(top.size(), 2);
  EXPECT_NE(top.label()[0], top.label()[1]);
}

TEST_F(ExamplesTest, ALargerShareContainsTheSmaller) {
  for (const double top_share : {1.0, 0.6}) {
    std::set<int64_t> before;
    for (const double share : {0.2, 0.5, 0.8, 1.0}) {
      const auto now = answers({.top_share = top_share, .share = share});
      EXPECT_GT(now.size(), before.size());
      EXPECT_TRUE(contains(now, before)) << share;
      before = now;
    }
  }
  EXPECT_NEAR(static_cast<double>(answers({.share = 0.5}).size()),
              0.5 * static_cast<double>(answers({}).size()), 15);
}

TEST_F(ExamplesTest, TheSeedChoosesTheShare) {
  EXPECT_EQ(answers({.share = 0.5}), answers({.share = 0.5}));
  EXPECT_NE(answers({.share = 0.5}), answers({.share = 0.5, .seed = 1}));
}

TEST_F(ExamplesTest, WordsCutTheTextAndItsVector) {
  const ExampleSet all = write({});
  const std::string whole(all.text(3));
  const ExampleSet cut = write({.words = 5});
  const std::string_view text = cut.text(3);
  EXPECT_TRUE(whole.starts_with(text));
  EXPECT_EQ(std::count(text.begin(), text.end(), ' '), 4);
  std::vector<float> vector(static_cast<size_t>(encoder_.dim()));
  encoder_.encode(std::span(&text, 1), vector);
  EXPECT_TRUE(std::equal(vector.begin(), vector.end(), cut.vector(3).begin()));
}

// Words that no title has are known to an encoder that read the chains of thought.
TEST_F(ExamplesTest, AnEncoderOfTheirOwnKnowsTheirWords) {
  const ExampleSet run = write({}), own = write({.own_encoder = true});
  EXPECT_EQ(run.width(), own.width());
  EXPECT_EQ(run.encoder_fingerprint(), encoder_.fingerprint());
  EXPECT_NE(own.encoder_fingerprint(), encoder_.fingerprint());
  for (int64_t example = 0; example < own.size(); ++example) {
    double square = 0;
    for (const float value : own.vector(example))
      square += value * value;
    EXPECT_NEAR(square, 1, 1e-4) << own.text(example);
  }
}

TEST_F(ExamplesTest, ShuffledAnswersStayWithinTheirLabelAndNobodyKeepsTheirOwn) {
  const ExampleSet all = write({});
  const ExampleSet mixed = write({.shuffle = true});
  ASSERT_EQ(mixed.size(), all.size());
  std::map<int64_t, int64_t> owner;  // of an answer
  for (int64_t index = 0; index < all.size(); ++index)
    owner[all.answer()[static_cast<size_t>(index)]] = index;
  std::set<int64_t> seen;
  for (int64_t index = 0; index < mixed.size(); ++index) {
    const auto at = static_cast<size_t>(index);
    EXPECT_EQ(mixed.user()[at], all.user()[at]);
    EXPECT_EQ(mixed.label()[at], all.label()[at]);
    const int64_t from = owner.at(mixed.answer()[at]);
    EXPECT_NE(from, index);
    EXPECT_EQ(all.label()[static_cast<size_t>(from)], mixed.label()[at]);
    EXPECT_EQ(mixed.text(index), all.text(from));
    EXPECT_TRUE(std::ranges::equal(mixed.vector(index), all.vector(from)));
    seen.insert(from);
  }
  EXPECT_EQ(static_cast<int64_t>(seen.size()), all.size());
}

TEST_F(ExamplesTest, DefaultsWriteTheSameBytesAsNoOptions) {
  write({});
  const std::string before = read_file(shop_.path("examples"));
  write(ExampleOptions::from(Config::parse("{}")));
  EXPECT_EQ(read_file(shop_.path("examples")), before);
}

TEST_F(ExamplesTest, AnEmptyResultNamesTheKeyToRelax) {
  EXPECT_THAT(error({.min_score = 1}), HasSubstr("lower pool.min_score"));
  EXPECT_THAT(error({.share = 1e-9}), HasSubstr("raise pool.share"));
}

TEST(FirstWords, CountsWhatWhiteSpaceSeparates) {
  EXPECT_EQ(first_words("  one  two\nthree ", 0), "  one  two\nthree ");
  EXPECT_EQ(first_words("  one  two\nthree ", 1), "  one");
  EXPECT_EQ(first_words("  one  two\nthree ", 2), "  one  two");
  EXPECT_EQ(first_words("one two", 2), "one two");
  EXPECT_EQ(first_words("one two", 9), "one two");
  EXPECT_EQ(first_words("caf\xc3\xa9 noir", 1), "caf\xc3\xa9");
  EXPECT_EQ(first_words("", 3), "");
}

TEST(ExampleOptions, ReadsStrictlyAndRefusesNothingLeft) {
  const auto options = ExampleOptions::from(
      Config::parse("{min_score: 0.5, top_share: 0.4, share: 0.3, words: 20, seed: 7}"));
  EXPECT_EQ(options.min_score, 0.5);
  EXPECT_EQ(options.top_share, 0.4);
  EXPECT_EQ(options.share, 0.3);
  EXPECT_EQ(options.words, 20);
  EXPECT_EQ(options.seed, 7);
  const auto error = [](const char* text) {
    return error_of([&] { ExampleOptions::from(Config::parse(text)); });
  };
  EXPECT_THAT(error("share: 0"), HasSubstr("share"));
  EXPECT_THAT(error("top_share: 1.5"), HasSubstr("top_share"));
  EXPECT_THAT(error("words: -1"), HasSubstr("words"));
  EXPECT_THAT(error("min_scores: 0.5"), HasSubstr("did you mean 'min_score'"));
}

}  // namespace
}  // namespace llmcf::cot
