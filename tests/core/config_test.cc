// Strict configuration: what is wrong is named with file, line and key; nothing is silently
// ignored.
#include "core/config.h"

#include <cstdlib>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kRun = R"(# a run
name: first
train:
  epochs: 30
  learning_rate: 0.008   # Adam
  resume: yes
  metrics: [auc, logloss]
  seeds: [2023, 2024]
  weights: [0.5, 1]
variants:
  - {name: none}
  - {name: llmcf, model: {context: ict}}
)";

Config run() {
  return Config::parse(kRun, "run.yaml");
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

TEST(Config, ReadsEveryType) {
  const Config train = run().section("train");
  EXPECT_EQ(train.get<int64_t>("epochs", 1), 30);
  EXPECT_DOUBLE_EQ(train.get<double>("learning_rate", 1), 0.008);
  EXPECT_TRUE(train.get<bool>("resume", false));
  EXPECT_THAT(train.get<std::vector<std::string>>("metrics", {}), ElementsAre("auc", "logloss"));
  EXPECT_THAT(train.get<std::vector<int64_t>>("seeds", {}), ElementsAre(2023, 2024));
  EXPECT_THAT(train.get<std::vector<double>>("weights", {}), ElementsAre(0.5, 1.0));
  EXPECT_EQ(run().require<std::string>("name"), "first");
}

TEST(Config, AbsentOrEmptyKeysGiveTheFallback) {
  const Config config = Config::parse("a:\n");
  EXPECT_EQ(config.get<int64_t>("a", 7), 7);
  EXPECT_EQ(config.get<std::string>("b", "x"), "x");
  EXPECT_EQ(config.section("a").get<int64_t>("deep", 3), 3);
  EXPECT_EQ(config.section("c").section("d").get<int64_t>("deep", 4), 4);
  EXPECT_TRUE(config.list("e").empty());
  EXPECT_EQ(Config::parse("").get<int64_t>("a", 5), 5);
}

TEST(Config, UnknownKeyNamesFileLineAndNearestKey) {
  const Config train =
      Config::parse("train:\n  epochs: 3\n  learnig_rate: 0.1\n", "run.yaml").section("train");
  train.get<int64_t>("epochs", 1);
  train.get<double>("learning_rate", 0.01);
  EXPECT_THAT(message_of([&] { train.finish(); }),
              AllOf(StartsWith("run.yaml:3:"), HasSubstr("'learnig_rate'"), HasSubstr("'train'"),
                    HasSubstr("did you mean 'learning_rate'?"), HasSubstr("epochs")));
}

TEST(Config, UnknownKeyFarFromAllSuggestsNothing) {
  const Config config = Config::parse("zebra: 1\n");
  config.has("epochs");
  EXPECT_THAT(message_of([&] { config.finish(); }),
              AllOf(HasSubstr("zebra"), ::testing::Not(HasSubstr("did you mean"))));
}

TEST(Config, FinishAcceptsWhatWasRead) {
  const Config config = run();
  config.get<std::string>("name", "");
  config.section("train");
  config.list("variants");
  EXPECT_NO_THROW(config.finish());
}

TEST(Config, SectionTakenTwiceRemembersWhatWasRead) {
  const Config config = Config::parse("train: {epochs: 1, batch: 2}\n");
  config.section("train").get<int64_t>("epochs", 0);
  config.section("train").get<int64_t>("batch", 0);
  EXPECT_NO_THROW(config.section("train").finish());
}

TEST(Config, WrongTypeNamesLineKeyValueAndExpectation) {
  const Config train =
      Config::parse("train:\n  epochs: many\n  rate: fast\n  on: 3\n  list: 5\n", "run.yaml")
          .section("train");
  EXPECT_THAT(message_of([&] { train.get<int64_t>("epochs", 1); }),
              AllOf(StartsWith("run.yaml:2:"), HasSubstr("train.epochs"), HasSubstr("'many'"),
                    HasSubstr("an integer")));
  EXPECT_THAT(message_of([&] { train.get<double>("rate", 1); }),
              AllOf(StartsWith("run.yaml:3:"), HasSubstr("a number")));
  EXPECT_THAT(message_of([&] { train.get<bool>("on", true); }),
              AllOf(StartsWith("run.yaml:4:"), HasSubstr("true or false")));
  EXPECT_THAT(message_of([&] { train.get<std::vector<int64_t>>("list", {}); }),
              AllOf(StartsWith("run.yaml:5:"), HasSubstr("a list of values")));
}

TEST(Config, FractionIsNotAnInteger) {
  EXPECT_THROW(Config::parse("a: 3.5\n").get<int64_t>("a", 0), InputError);
}

TEST(Config, RangesAndChoicesAreChecked) {
  const Config config = Config::parse("k: 9\nrate: .nan\nkind: strickt\n", "run.yaml");
  EXPECT_THAT(message_of([&] { config.get_int("k", 4, 1, 8); }),
              AllOf(StartsWith("run.yaml:1:"), HasSubstr("9 is outside [1, 8]")));
  EXPECT_THROW(config.get_number("rate", 0.1, 0, 1), InputError);
  EXPECT_THAT(message_of([&] {
                config.get_choice("kind", "strict", {"strict", "paper"});
              }),
              AllOf(StartsWith("run.yaml:3:"), HasSubstr("did you mean 'strict'?")));
  EXPECT_EQ(config.get_int("absent", 4, 1, 8), 4);
}

TEST(Config, MissingRequiredKeyIsNamedWithItsType) {
  const Config train = Config::parse("\ntrain:\n  epochs: 3\n", "run.yaml").section("train");
  EXPECT_THAT(message_of([&] { train.require<int64_t>("batch"); }),
              AllOf(StartsWith("run.yaml:3:"), HasSubstr("'train.batch' is missing"),
                    HasSubstr("an integer")));
}

TEST(Config, SectionsAndListsMustBeMaps) {
  const Config config = Config::parse("train: 3\nvariants: {a: 1}\nrows: [1]\n", "run.yaml");
  EXPECT_THAT(message_of([&] { config.section("train"); }), HasSubstr("expected a map"));
  EXPECT_THAT(message_of([&] { config.list("variants"); }), HasSubstr("expected a list"));
  EXPECT_THAT(message_of([&] { config.list("rows"); }), HasSubstr("entry 1 is not a map"));
}

TEST(Config, ListEntriesAreConfigsWithTheirPath) {
  const auto variants = run().list("variants");
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_EQ(variants[1].section("model").get<std::string>("context", ""), "ict");
  EXPECT_THAT(message_of([&] { variants[1].section("model").require<bool>("x"); }),
              HasSubstr("variants[1].model.x"));
}

TEST(Config, BrokenYamlNamesTheLine) {
  EXPECT_THAT(message_of([] { Config::parse("a: 1\nb: [1, 2\n", "run.yaml"); }),
              AllOf(StartsWith("run.yaml:"), HasSubstr("not valid YAML")));
  EXPECT_THAT(message_of([] { Config::parse("- 1\n", "run.yaml"); }),
              HasSubstr("expected a map of keys at the top"));
}

TEST(Config, KeyWrittenTwiceIsAnError) {
  EXPECT_THAT(
      message_of([] { Config::parse("train:\n  epochs: 3\n  epochs: 4\n", "run.yaml"); }),
      AllOf(StartsWith("run.yaml:3:"), HasSubstr("'epochs' appears twice"), HasSubstr("line 2")));
}

TEST(Config, CanonicalIgnoresOrderCommentsAndLayoutOnly) {
  const std::string text = Config::parse("a: 1\nb: {c: x, d: [1, 2]}\n").canonical();
  EXPECT_EQ(text, Config::parse("b:\n  d: [1,   2]\n  # note\n  c: x\na: 1\n").canonical());
  EXPECT_NE(text, Config::parse("a: 2\nb: {c: x, d: [1, 2]}\n").canonical());
  EXPECT_NE(text, Config::parse("a: 1\nb: {c: x, d: [2, 1]}\n").canonical());
  EXPECT_EQ(Config::parse("").canonical(), Config::parse("{}").canonical());
}

TEST(Config, SetReplacesAndAddsByDottedPath) {
  Config config = run();
  config.set("train.epochs", "3");
  config.set("split.method", "time");
  config.set("train.seeds", "[1]");
  EXPECT_EQ(config.section("train").get<int64_t>("epochs", 0), 3);
  EXPECT_EQ(config.section("split").get<std::string>("method", ""), "time");
  EXPECT_THAT(config.section("train").get<std::vector<int64_t>>("seeds", {}), ElementsAre(1));
  EXPECT_DOUBLE_EQ(config.section("train").get<double>("learning_rate", 0), 0.008);
}

TEST(Config, SetOfNonsenseIsAnError) {
  Config config = run();
  EXPECT_THROW(config.set("train.seeds", "[1"), Error);
  EXPECT_THROW(config.set("name.first.second", "1"), Error);
}

TEST(Config, SetLeavesTheTreesItWasMadeFromAlone) {
  const Config base = Config::parse("opt: {name: adam, rate: 0.1}\n", "dir/base.yaml");
  Config made = Config::overlay(base, Config::parse("new: 1\n", "elsewhere/over.yaml"));
  made.set("opt.rate", "0.2");
  made.set("deep.er", "true");
  EXPECT_DOUBLE_EQ(made.section("opt").get<double>("rate", 0), 0.2);
  EXPECT_EQ(made.section("opt").get<std::string>("name", ""), "adam");
  EXPECT_TRUE(made.section("deep").get<bool>("er", false));
  EXPECT_DOUBLE_EQ(base.section("opt").get<double>("rate", 0), 0.1);
  EXPECT_FALSE(base.has("deep"));
  EXPECT_EQ(made.directory(), "dir") << "relative paths start at the base";
}

TEST(Config, OverlayReplacesKeyByKeyAndKeepsLines) {
  const Config base = Config::parse("epochs: 3\nopt: {name: adam, rate: 0.1}\n", "base.yaml");
  const Config over = Config::parse("\n\nopt: {rate: x}\nnew: 1\n", "over.yaml");
  const Config merged = Config::overlay(base, over);
  EXPECT_EQ(merged.get<int64_t>("epochs", 0), 3);
  EXPECT_EQ(merged.get<int64_t>("new", 0), 1);
  EXPECT_EQ(merged.section("opt").get<std::string>("name", ""), "adam");
  EXPECT_THAT(message_of([&] { merged.section("opt").get<double>("rate", 0); }),
              HasSubstr(":3: opt.rate"));
  EXPECT_DOUBLE_EQ(base.section("opt").get<double>("rate", 0), 0.1) << "the base is untouched";
}

TEST(Config, EnvironmentVariablesStandInTexts) {
  ::setenv("LLMCF_TEST_VALUE", "shop", 1);
  ::unsetenv("LLMCF_TEST_ABSENT");
  const Config config = Config::parse(
      "a: /data/${LLMCF_TEST_VALUE}/x\nb: ${LLMCF_TEST_ABSENT:-none}\nc: ${LLMCF_TEST_ABSENT}\n"
      "d: 'cost $5 {x}'\ne: ${LLMCF_TEST_VALUE\n",
      "run.yaml");
  EXPECT_EQ(config.get<std::string>("a", ""), "/data/shop/x");
  EXPECT_EQ(config.get<std::string>("b", ""), "none");
  EXPECT_EQ(config.get<std::string>("d", ""), "cost $5 {x}");
  EXPECT_EQ(config.get<std::string>("e", ""), "${LLMCF_TEST_VALUE");
  EXPECT_THAT(message_of([&] { config.get<std::string>("c", ""); }),
              AllOf(StartsWith("run.yaml:3:"), HasSubstr("LLMCF_TEST_ABSENT is not set")));
}

TEST(Config, LoadKnowsItsDirectoryAndNamesAMissingFile) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "run.yaml", "a: 1\n");
  EXPECT_EQ(Config::load(directory.path() / "run.yaml").directory(), directory.path());
  EXPECT_THAT(message_of([&] { Config::load(directory.path() / "no.yaml"); }),
              AllOf(HasSubstr("no.yaml"), HasSubstr("No such file")));
}

TEST(Config, KeysKeepTheFilesOrderAndDoNotCountAsRead) {
  const Config config = Config::parse("z: 1\na: 2\n");
  EXPECT_THAT(config.keys(), ElementsAre("z", "a"));
  EXPECT_THROW(config.finish(), InputError);
}

}  // namespace
}  // namespace llmcf
