// The blocked search against the naive one, on worlds full of ties; and each rule by itself.
#include "retrieval/assign.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/threads.h"
#include "retrieval/random_world.h"

namespace llmcf::retrieval {
namespace {

using testing::Columns;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::naive_assign;
using testing::World;
using testing::WorldSize;

Assignment run(const World& world, const RetrievalOptions& options,
               const AssignTuning& tuning = {}) {
  return assign(world.examples.pool(), world.rows.queries(), world.texts(), world.histories(),
                options, tuning);
}

class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(thread_count()) { set_thread_count(count); }
  ~ThreadCount() { set_thread_count(before_); }

 private:
  int before_;
};

TEST(Assign, EqualsTheNaiveSearchOnRandomWorlds) {
  Random random(7, "tests.assign");
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const WorldSize size{
        .users = 1 + static_cast<int64_t>(random.below(20)),
        .items = 1 + static_cast<int64_t>(random.below(30)),
        .width = 1 + static_cast<int64_t>(random.below(40)),
        .longest = 1 + static_cast<int64_t>(random.below(12)),
        .examples = static_cast<int64_t>(random.below(random.below(4) == 0 ? 6 : 300)),
        .queries = static_cast<int64_t>(random.below(120)),
        .days = 1 + static_cast<int64_t>(random.below(12)),
        .positive_share = 0.25 * static_cast<double>(random.below(5))};
    const World world(size, seed);
    RetrievalOptions options;
    options.k = 1 + static_cast<int64_t>(random.below(random.below(3) == 0 ? 32 : 6));
    options.positives =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(options.k + 2))) - 1;
    options.history_weight = 0.25 * static_cast<double>(random.below(5));
    options.exclude_self = random.below(2) == 0;
    options.time_safe = random.below(2) == 0;
    options.normalize = random.below(2) == 0;
    if (random.below(3) == 0) options.min_similarity = random.uniform(-0.3, 0.6);
    const AssignTuning tuning{.table_bytes = static_cast<int64_t>(random.below(1 << 17)),
                              .history_bytes = static_cast<int64_t>(random.below(1 << 14)),
                              .block_columns = static_cast<int64_t>(random.below(400))};
    const Assignment expected = naive_assign(world, options);
    for (const int threads : {1, 3}) {
      const ThreadCount scope(threads);
      const Assignment found = run(world, options, tuning);
      ASSERT_EQ(found.ids, expected.ids) << "seed " << seed;
      ASSERT_EQ(found.similarity, expected.similarity) << "seed " << seed;
    }
  }
}

// Large enough for several chunks of columns and blocks of rows.
TEST(Assign, DoesNotDependOnThreadsOrBlocks) {
  const World world({.users = 200,
                     .items = 150,
                     .width = 16,
                     .longest = 20,
                     .examples = 6000,
                     .queries = 1500,
                     .days = 400},
                    1);
  const Assignment expected = naive_assign(world, {});
  for (const int threads : {1, 2, 5}) {
    for (const int64_t columns : {32, 96, 2048}) {
      const ThreadCount scope(threads);
      const Assignment found = run(
          world, {}, {.table_bytes = 1 << 18, .history_bytes = 1 << 15, .block_columns = columns});
      EXPECT_EQ(found.ids, expected.ids);
      EXPECT_EQ(found.similarity, expected.similarity);
    }
  }
}

double double_dot(std::span<const double> a, std::span<const float> b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k)
    sum += a[k] * b[k];
  return sum;
}

std::vector<double> double_mean(const World& world, int32_t user, int32_t position) {
  std::vector<double> mean(static_cast<size_t>(world.width), 0.0);
  for (const int32_t item : world.histories()(user, position)) {
    for (size_t k = 0; k < mean.size(); ++k)
      mean[k] += world.texts().row(item)[k] / static_cast<double>(position);
  }
  return mean;
}

TEST(Assign, SimilaritiesAreTheFormulasWithinOneInAHundredThousand) {
  const World world({.users = 40,
                     .items = 60,
                     .width = 256,
                     .longest = 80,
                     .examples = 500,
                     .queries = 200,
                     .days = 50},
                    3);
  const RetrievalOptions options{.k = 6, .history_weight = 0.3};
  const Assignment found = run(world, options);
  int64_t filled = 0;
  for (size_t slot = 0; slot < found.ids.size(); ++slot) {
    if (found.ids[slot] < 0) continue;
    ++filled;
    const size_t q = slot / 6;
    const auto c = static_cast<size_t>(found.ids[slot]);
    const auto hc = double_mean(world, world.examples.user[c], world.examples.position[c]);
    const std::vector<float> hc_float(hc.begin(), hc.end());
    const double history =
        double_dot(double_mean(world, world.rows.user[q], world.rows.position[q]), hc_float);
    const auto tq = world.texts().row(world.rows.item[q]);
    const double target = double_dot(std::vector<double>(tq.begin(), tq.end()),
                                     world.texts().row(world.examples.item[c]));
    EXPECT_NEAR(found.history_similarity[slot], history, 1e-5);
    EXPECT_NEAR(found.target_similarity[slot], target, 1e-5);
    const double own = double_dot(double_mean(world, world.rows.user[q], world.rows.position[q]),
                                  world.texts().row(world.rows.item[q]));
    EXPECT_NEAR(found.alignment[q], own, 1e-5);
    EXPECT_NEAR(found.similarity[slot], 0.3 * history + 0.7 * target, 1e-5);
  }
  EXPECT_GT(filled, 600);
}

// One user (1) with a history of four equal items, everything as similar as can be.
struct SmallWorld {
  std::vector<float> text = {0, 0, 1, 0, 0, 1, 0.6F, 0.8F};  // items 1, 2 and 3
  std::vector<int32_t> history = {1, 1, 1, 1};
  Columns examples;
  Columns rows;

  Assignment run(const RetrievalOptions& options) const {
    return assign(
        examples.pool(), rows.queries(), {.item_text = text, .width = 2},
        [this](int32_t, int32_t position) {
          return std::span(history).first(static_cast<size_t>(position));
        },
        options);
  }
};

RetrievalOptions positives_only(int64_t k) {
  return {.k = k, .positives = k};
}

TEST(Assign, PutsTheMostSimilarLastAndMaskedSlotsFirst) {
  SmallWorld world;
  world.examples.add(2, 2, 1, 1, 10);
  world.examples.add(2, 1, 1, 1, 10);
  world.examples.add(2, 3, 1, 1, 10);
  world.rows.add(1, 1, 1, 1, 20);
  const Assignment found = world.run(positives_only(5));
  EXPECT_THAT(found.ids, ElementsAre(-1, -1, 0, 2, 1));
  EXPECT_THAT(found.similarity, ElementsAre(0, 0, 0.5F, 0.8F, 1));
  EXPECT_THAT(found.target_similarity, ElementsAre(0, 0, 0, 0.6F, 1));
  EXPECT_THAT(found.history_similarity, ElementsAre(0, 0, 1, 1, 1));
}

TEST(Assign, NeverFillsAMissingLabelWithTheOther) {
  SmallWorld world;
  for (int i = 0; i < 5; ++i)
    world.examples.add(2, 1, 1, 1, 10);
  world.examples.add(2, 2, 1, 0, 10);
  world.rows.add(1, 1, 1, 1, 20);
  EXPECT_THAT(world.run({}).ids, ElementsAre(-1, 5, 1, 0));
}

TEST(Assign, BreaksTiesByLaterTimeThenLowerId) {
  SmallWorld world;
  for (const int64_t time : {5, 9, 7, 9})
    world.examples.add(2, 1, 1, 1, time);
  world.rows.add(1, 1, 1, 1, 20);
  EXPECT_THAT(world.run(positives_only(3)).ids, ElementsAre(2, 3, 1));
}

TEST(Assign, StrictExcludesTheSameDayAndTheFutureOfEveryUser) {
  SmallWorld world;
  world.examples.add(2, 1, 1, 1, 19);
  world.examples.add(2, 1, 1, 1, 20);
  world.examples.add(2, 1, 1, 1, 21);
  world.rows.add(1, 1, 1, 1, 20);
  EXPECT_THAT(world.run(positives_only(3)).ids, ElementsAre(-1, -1, 0));
}

TEST(Assign, StrictExcludesOwnRowItsSiblingAndOwnLaterPositions) {
  SmallWorld world;
  world.examples.add(1, 1, 2, 1, 20);  // the row itself
  world.examples.add(1, 2, 2, 1, 20);  // its sibling
  world.examples.add(1, 1, 3, 1, 10);  // a later position with an earlier time
  world.examples.add(1, 1, 1, 1, 10);
  world.rows.add(1, 1, 2, 1, 20);
  EXPECT_THAT(world.run(positives_only(4)).ids, ElementsAre(-1, -1, -1, 3));
}

TEST(Assign, PaperSkipsOnlyOwnLaterPositions) {
  SmallWorld world;
  world.examples.add(1, 1, 2, 1, 20);  // the row itself: the public code retrieves it
  world.examples.add(1, 1, 3, 1, 30);  // own future: skipped
  world.examples.add(2, 2, 4, 1, 99);  // another user's future: kept
  world.rows.add(1, 1, 2, 1, 20);
  RetrievalOptions paper = RetrievalOptions::from(Config::parse("k: 3\npositives: 3"), "paper");
  paper.order = Order::kSimilarLast;
  EXPECT_THAT(world.run(paper).ids, ElementsAre(-1, 2, 0));
}

TEST(Assign, MinSimilarityMasksWhatIsTooFar) {
  SmallWorld world;
  world.examples.add(2, 2, 1, 1, 10);
  world.examples.add(2, 3, 1, 1, 10);
  world.rows.add(1, 1, 1, 1, 20);
  RetrievalOptions options = positives_only(2);
  options.min_similarity = 0.75;
  EXPECT_THAT(world.run(options).ids, ElementsAre(-1, 1));
}

TEST(Assign, RandomOrderShufflesTheSameExamplesBySeedAndRow) {
  const World world({.examples = 400, .queries = 200}, 5);
  RetrievalOptions options{.k = 8};
  const Assignment sorted = run(world, options);
  options.order = Order::kRandom;
  const Assignment once = run(world, options);
  EXPECT_EQ(once.ids, run(world, options).ids);
  options.seed = 1;
  EXPECT_NE(once.ids, run(world, options).ids);
  EXPECT_NE(once.ids, sorted.ids);
  for (int64_t row = 0; row < sorted.rows; ++row) {
    const auto left = once.ids_of(row);
    const auto right = sorted.ids_of(row);
    EXPECT_EQ(std::multiset<int32_t>(left.begin(), left.end()),
              std::multiset<int32_t>(right.begin(), right.end()));
    EXPECT_EQ(left[0] == -1, right[0] == -1);
  }
}

RetrievalOptions ordered(const char* order, int64_t k) {
  return RetrievalOptions::from(
      Config::parse(fmt::format("{{k: {}, positives: {}, order: {}}}", k, k, order)));
}

TEST(Assign, OrdersBySimilarityOrTimeAfterTheMaskedSlots) {
  SmallWorld world;
  world.examples.add(2, 2, 1, 1, 12);  // similarity 0.5
  world.examples.add(2, 1, 1, 1, 10);  // 1
  world.examples.add(2, 3, 1, 1, 12);  // 0.8
  world.examples.add(2, 3, 1, 1, 11);  // 0.8
  world.rows.add(1, 1, 1, 1, 20);
  EXPECT_THAT(world.run(ordered("similar_last", 5)).ids, ElementsAre(-1, 0, 3, 2, 1));
  EXPECT_THAT(world.run(ordered("similar_first", 5)).ids, ElementsAre(-1, 1, 2, 3, 0));
  EXPECT_THAT(world.run(ordered("time", 5)).ids, ElementsAre(-1, 1, 3, 0, 2));
  EXPECT_THAT(world.run(ordered("time", 5)).similarity, ElementsAre(0, 1, 0.8F, 0.5F, 0.8F));
  // The order does not change which examples are chosen.
  EXPECT_THAT(world.run(ordered("time", 2)).ids, ElementsAre(1, 2));
}

TEST(Assign, EveryOrderHoldsTheSameExamplesForAnyK) {
  const World world({.examples = 400, .queries = 60}, 13);
  for (const int64_t k : {1, 3, 8, 32}) {
    RetrievalOptions options{.k = k};
    const Assignment expected = naive_assign(world, options);
    EXPECT_EQ(run(world, options).ids, expected.ids);
    for (const Order order : {Order::kSimilarFirst, Order::kTime, Order::kRandom}) {
      options.order = order;
      const Assignment found = run(world, options);
      for (int64_t row = 0; row < expected.rows; ++row) {
        const auto left = found.ids_of(row);
        const auto right = expected.ids_of(row);
        EXPECT_EQ(std::multiset<int32_t>(left.begin(), left.end()),
                  std::multiset<int32_t>(right.begin(), right.end()));
        EXPECT_TRUE(
            std::is_partitioned(left.begin(), left.end(), [](int32_t id) { return id < 0; }));
      }
    }
  }
}

TEST(Assign, AnOddKGivesTheOddSlotToANegative) {
  SmallWorld world;
  for (int i = 0; i < 40; ++i)
    world.examples.add(2, 1, 1, i % 2 == 0 ? 1.0F : 0.0F, 10);
  world.rows.add(1, 1, 1, 1, 20);
  for (const int64_t k : {1, 3, 7, 31}) {
    const Assignment found = world.run({.k = k});
    EXPECT_EQ(
        std::count_if(found.ids.begin(), found.ids.end(), [](int32_t id) { return id % 2 == 0; }),
        k / 2);
    EXPECT_EQ(std::count(found.ids.begin(), found.ids.end(), -1), 0);
  }
}

TEST(Assign, MoreSlotsThanEligibleExamplesMasksTheRest) {
  SmallWorld world;
  for (int i = 0; i < 6; ++i)
    world.examples.add(2, 1, 1, i < 2 ? 1.0F : 0.0F, 10 + i);
  world.rows.add(1, 1, 1, 1, 14);  // sees two positives and two negatives
  for (const int64_t k : {8, 32, 100}) {
    const Assignment found = world.run({.k = k});
    EXPECT_EQ(std::count(found.ids.begin(), found.ids.end(), -1), k - 4);
    EXPECT_THAT(std::vector<int32_t>(found.ids.end() - 4, found.ids.end()),
                ElementsAre(0, 1, 2, 3));
  }
}

TEST(Assign, APoolOfOneLabelFillsItsOwnSlotsOnly) {
  for (const float label : {0.0F, 1.0F}) {
    SmallWorld world;
    for (int i = 0; i < 50; ++i)
      world.examples.add(2, 1, 1, label, 10);
    world.rows.add(1, 1, 1, 1, 20);
    for (const int64_t k : {1, 3, 32}) {
      const Assignment found = world.run({.k = k});
      EXPECT_EQ(
          std::count_if(found.ids.begin(), found.ids.end(), [](int32_t id) { return id >= 0; }),
          label > 0 ? k / 2 : k - k / 2);
    }
  }
}

TEST(Assign, SplitsTogetherEqualSplitsApart) {
  const World world({.examples = 300, .queries = 90}, 11);
  const Queries all = world.rows.queries();
  const auto part = [&](size_t begin, size_t count) {
    return Queries{.user = all.user.subspan(begin, count),
                   .item = all.item.subspan(begin, count),
                   .position = all.position.subspan(begin, count),
                   .time = all.time.subspan(begin, count)};
  };
  RetrievalOptions options;
  options.order = Order::kRandom;
  const std::vector<Queries> parts = {part(0, 50), part(50, 0), part(50, 40)};
  const auto together =
      assign(world.examples.pool(), parts, world.texts(), world.histories(), options);
  ASSERT_EQ(together.size(), 3U);
  for (size_t i = 0; i < parts.size(); ++i) {
    const Assignment apart =
        assign(world.examples.pool(), parts[i], world.texts(), world.histories(), options);
    EXPECT_EQ(together[i].ids, apart.ids);
    EXPECT_EQ(together[i].similarity, apart.similarity);
  }
}

TEST(Assign, AnEmptyPoolMasksEverything) {
  const World world({.examples = 0, .queries = 5}, 2);
  const Assignment found = run(world, {});
  EXPECT_EQ(found.ids, std::vector<int32_t>(20, -1));
}

TEST(Assign, SurvivesSavingAndLoading) {
  const TemporaryDirectory directory;
  const Assignment written = run(World({}, 4), {});
  written.save(directory.path() / "train.safetensors");
  const Assignment read = Assignment::load(directory.path() / "train.safetensors");
  EXPECT_EQ(read.rows, written.rows);
  EXPECT_EQ(read.k, written.k);
  EXPECT_EQ(read.ids, written.ids);
  EXPECT_EQ(read.similarity, written.similarity);
  EXPECT_EQ(read.history_similarity, written.history_similarity);
  EXPECT_EQ(read.target_similarity, written.target_similarity);
  EXPECT_EQ(read.alignment, written.alignment);
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Assign, RefusesInputThatDoesNotFit) {
  World world({}, 6);
  EXPECT_THAT(error_of([&] { run(world, {.k = 0}); }), HasSubstr("retrieve.k is 0"));
  EXPECT_THAT(error_of([&] { run(world, {.k = 2, .positives = 3}); }),
              HasSubstr("retrieve.positives is 3"));
  EXPECT_THAT(error_of([&] { run(world, {.history_weight = 1.5}); }),
              HasSubstr("retrieve.history_weight is 1.5"));
  world.rows.item[7] = 999;
  EXPECT_THAT(error_of([&] { run(world, {}); }),
              HasSubstr("query 7 has item 999, outside [0, 21)"));
  world.rows.item.pop_back();
  EXPECT_THAT(error_of([&] { run(world, {}); }), HasSubstr("59 values of item but 60 of user"));
}

TEST(RetrievalOptions, ProtocolSetsTheSwitchesAndKeysOverrideThem) {
  const auto strict = RetrievalOptions::from(Config::parse("history_weight: 0.5"));
  EXPECT_TRUE(strict.exclude_self && strict.time_safe && strict.order == Order::kSimilarLast);
  EXPECT_EQ(strict.wanted_positives(), 4);
  EXPECT_TRUE(strict.normalize);
  EXPECT_EQ(strict.collaborative.weight, 0.5);
  const auto paper = RetrievalOptions::from(Config::parse("exclude_self: true"), "paper");
  EXPECT_TRUE(paper.exclude_self);
  EXPECT_TRUE(!paper.time_safe && paper.order == Order::kRandom);
  EXPECT_TRUE(!paper.normalize && paper.collaborative.weight == 0 && paper.k == 4);
  const auto own = RetrievalOptions::from(
      Config::parse("protocol: strict\npositives: 3\ncollaborative: {weight: 0.2}"), "paper");
  EXPECT_TRUE(own.time_safe);
  EXPECT_EQ(own.wanted_negatives(), 5);
  EXPECT_EQ(own.collaborative.weight, 0.2);
  EXPECT_THAT(error_of([] { RetrievalOptions::from(Config::parse("histroy_weight: 1")); }),
              HasSubstr("history_weight"));
}

}  // namespace
}  // namespace llmcf::retrieval
