// Splits and negatives.
#include "data/rows.h"

#include <algorithm>
#include <set>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "data/fixture.h"

namespace llmcf::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Split kSplits[] = {Split::kTrain, Split::kValid, Split::kTest};

// 60 users with 3 to 12 rated events on 40 items at 30 different times.
class RowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Random random(7, "rows_test");
    std::string text = "who,what,when,stars\n";
    for (int user = 0; user < 60; ++user) {
      for (uint64_t event = 0; event < 3 + random.below(10); ++event)
        text += fmt::format("u{},i{},{},{}\n", user, random.below(40), random.below(30),
                            1 + random.below(5));
    }
    for (int item = 0; item < 40; ++item)
      text += fmt::format("all,i{},{},5\n", item, item % 5);
    shop_.put("events.csv", text.substr(0, text.find("all")));
    shop_.put("with_greedy.csv", text);
    dataset_ = std::make_unique<Dataset>(shop_.import(shop_.table(
        "interactions: {file: events.csv, user: who, item: what, time: when, rating: stars}")));
  }

  RowSet split(const SplitOptions& options) {
    write_rows(*dataset_, options, shop_.path("rows.safetensors"));
    return RowSet(shop_.path("rows.safetensors"));
  }
  std::set<int32_t> touched(int32_t user) const {
    const auto items = dataset_->event_item();
    const auto begin = dataset_->user_offsets()[static_cast<size_t>(user)];
    const auto end = dataset_->user_offsets()[static_cast<size_t>(user) + 1];
    return {items.begin() + begin, items.begin() + end};
  }

  Workshop shop_;
  std::unique_ptr<Dataset> dataset_;
};

TEST_F(RowsTest, AShareOfTheUsersKeepsTheirRowsAsTheyAre) {
  // Rows as (split, user, position, item).
  using Row = std::tuple<Split, int32_t, int32_t, int32_t>;
  const auto rows_of = [&](double share) {
    const RowSet rows = split({.user_share = share});
    std::set<Row> found;
    for (const Split split : kSplits) {
      const Rows& part = rows.rows(split);
      for (size_t row = 0; row < part.user.size(); ++row)
        found.emplace(split, part.user[row], part.position[row], part.item[row]);
    }
    return found;
  };
  const auto users_of = [](const std::set<Row>& rows) {
    std::set<int32_t> users;
    for (const Row& row : rows)
      users.insert(std::get<1>(row));
    return users;
  };
  const std::set<Row> all = rows_of(1), half = rows_of(0.5), third = rows_of(0.33);
  EXPECT_GT(users_of(third).size(), 10U);
  EXPECT_LT(users_of(third).size(), users_of(half).size());
  EXPECT_LT(users_of(half).size(), users_of(all).size());
  EXPECT_TRUE(std::includes(half.begin(), half.end(), third.begin(), third.end()));
  EXPECT_TRUE(std::includes(all.begin(), all.end(), half.begin(), half.end()));
  for (const Row& row : all)
    EXPECT_EQ(third.contains(row), users_of(third).contains(std::get<1>(row)));
}

TEST_F(RowsTest, HistoryIsWhatPrecedesTheRow) {
  const RowSet rows = split({});
  for (const Split split : kSplits) {
    const Rows& part = rows.rows(split);
    for (size_t row = 0; row < part.user.size(); ++row) {
      const int64_t begin = dataset_->user_offsets()[static_cast<size_t>(part.user[row])];
      EXPECT_EQ(part.event[row] - begin, part.position[row]);
      const auto history = rows.history(part.user[row], part.position[row]);
      EXPECT_TRUE(
          std::equal(history.begin(), history.end(), dataset_->event_item().begin() + begin));
      EXPECT_EQ(part.time[row], dataset_->event_time()[static_cast<size_t>(part.event[row])]);
      if (part.label[row] > 0) {
        EXPECT_EQ(part.item[row], dataset_->event_item()[static_cast<size_t>(part.event[row])]);
      }
    }
  }
}

TEST_F(RowsTest, LeaveOneOutTakesTheLastTwo) {
  const RowSet rows = split({.min_history = 2, .negatives = 0});
  int64_t train = 0;
  int64_t valid = 0;
  for (int32_t user = 1; user <= dataset_->num_users(); ++user) {
    const int64_t events = dataset_->user_offsets()[static_cast<size_t>(user) + 1] -
                           dataset_->user_offsets()[static_cast<size_t>(user)];
    train += std::max<int64_t>(0, events - 4);
    valid += events >= 4;
    EXPECT_EQ(rows.user_in_train(user), events > 4);
  }
  EXPECT_EQ(rows.train().size(), train);
  EXPECT_EQ(rows.rows(Split::kValid).size(), valid);
  EXPECT_EQ(rows.rows(Split::kTest).size(), dataset_->num_users());
}

TEST_F(RowsTest, NegativesFollowTheirPositiveAndAreNeverTouched) {
  const RowSet rows = split({.negatives = 3});
  for (const Split split : kSplits) {
    const Rows& part = rows.rows(split);
    ASSERT_EQ(part.size() % 4, 0);
    for (size_t row = 0; row < part.user.size(); ++row) {
      EXPECT_EQ(part.label[row], row % 4 == 0 ? 1.0F : 0.0F);
      if (row % 4 == 0) continue;
      const size_t positive = row - row % 4;
      EXPECT_EQ(part.user[row], part.user[positive]);
      EXPECT_EQ(part.position[row], part.position[positive]);
      EXPECT_EQ(part.time[row], part.time[positive]);
      EXPECT_EQ(part.event[row], part.event[positive]);
      EXPECT_FALSE(touched(part.user[row]).contains(part.item[row]));
      for (size_t other = positive + 1; other < row; ++other)
        EXPECT_NE(part.item[row], part.item[other]);
    }
  }
}

TEST_F(RowsTest, NegativesAreUniform) {
  const RowSet rows = split({.negatives = 20});
  std::vector<double> drawn(static_cast<size_t>(dataset_->num_items()) + 1, 0);
  std::vector<double> expected(drawn.size(), 0);
  const Rows& part = rows.train();
  for (size_t row = 0; row < part.user.size(); ++row) {
    if (part.label[row] == 0) {
      ++drawn[static_cast<size_t>(part.item[row])];
      continue;
    }
    const auto seen = touched(part.user[row]);
    for (int32_t item = 1; item <= dataset_->num_items(); ++item) {
      if (!seen.contains(item))
        expected[static_cast<size_t>(item)] += 20.0 / double(40 - seen.size());
    }
  }
  for (size_t item = 1; item < drawn.size(); ++item)
    EXPECT_NEAR(drawn[item] / expected[item], 1.0, 0.2) << item;
}

TEST_F(RowsTest, SeedDecidesTheBytes) {
  split({.seed = 1});
  const std::string first = read_file(shop_.path("rows.safetensors"));
  split({.seed = 1});
  EXPECT_TRUE(first == read_file(shop_.path("rows.safetensors")));
  split({.seed = 2});
  EXPECT_FALSE(first == read_file(shop_.path("rows.safetensors")));
}

TEST_F(RowsTest, TimeCutNeverLeaks) {
  const RowSet rows = split({.method = "time", .valid_share = 0.2, .test_share = 0.2});
  const auto times = [&](Split split) { return rows.rows(split).time; };
  const auto latest = [&](Split split) {
    return *std::max_element(times(split).begin(), times(split).end());
  };
  const auto earliest = [&](Split split) {
    return *std::min_element(times(split).begin(), times(split).end());
  };
  EXPECT_LT(latest(Split::kTrain), earliest(Split::kValid));
  EXPECT_LT(latest(Split::kValid), earliest(Split::kTest));
  const auto all = static_cast<double>(rows.train().size() + rows.rows(Split::kValid).size() +
                                       rows.rows(Split::kTest).size());
  EXPECT_NEAR(static_cast<double>(rows.rows(Split::kTest).size()) / all, 0.2, 0.06);
  EXPECT_NEAR(static_cast<double>(rows.rows(Split::kValid).size()) / all, 0.2, 0.06);
}

TEST_F(RowsTest, RatioTakesTheLastRowsOfEachUser) {
  const RowSet rows =
      split({.method = "ratio", .valid_share = 0.25, .test_share = 0.25, .negatives = 0});
  for (int32_t user = 1; user <= dataset_->num_users(); ++user) {
    std::vector<int32_t> last = {-1, -1, -1};
    std::vector<int32_t> first = {1000, 1000, 1000};
    for (size_t split = 0; split < 3; ++split) {
      const Rows& part = rows.rows(kSplits[split]);
      for (size_t row = 0; row < part.user.size(); ++row) {
        if (part.user[row] != user) continue;
        last[split] = std::max(last[split], part.position[row]);
        first[split] = std::min(first[split], part.position[row]);
      }
    }
    EXPECT_LT(last[0], first[1]);
    EXPECT_LT(std::max(last[0], last[1]), first[2]);
  }
}

TEST_F(RowsTest, ThresholdLabelsAndKeepsOnlyLikedHistory) {
  const RowSet rows = split({.min_history = 1, .negatives = 5, .rating_threshold = 4});
  const auto ratings = dataset_->event_rating();
  bool disliked = false;
  std::vector<int32_t> popular(static_cast<size_t>(dataset_->num_items()) + 1, 0);
  for (const Split split : kSplits) {
    const Rows& part = rows.rows(split);
    for (size_t row = 0; row < part.user.size(); ++row) {
      const float label = ratings[static_cast<size_t>(part.event[row])] >= 4 ? 1.0F : 0.0F;
      EXPECT_EQ(part.label[row], label);
      disliked |= label == 0;
      std::vector<int32_t> liked;
      for (int64_t event = dataset_->user_offsets()[static_cast<size_t>(part.user[row])];
           event < part.event[row]; ++event) {
        if (ratings[static_cast<size_t>(event)] >= 4)
          liked.push_back(dataset_->event_item()[static_cast<size_t>(event)]);
      }
      EXPECT_THAT(rows.history(part.user[row], part.position[row]),
                  ::testing::ElementsAreArray(liked));
      EXPECT_GE(liked.size(), 1U);
      if (split == Split::kTrain && label > 0) ++popular[static_cast<size_t>(part.item[row])];
    }
  }
  EXPECT_TRUE(disliked);
  EXPECT_THAT(rows.item_train_count(), ::testing::ElementsAreArray(popular));
}

TEST_F(RowsTest, ExplicitCutsTakeEveryRowOnceAndLeaveOutWhatIsLater) {
  const RowSet rows = split({.cuts = TimeCuts{.valid_from = 10, .test_from = 15, .end = 25}});
  const std::vector<int64_t> times = row_times(*dataset_, {});
  std::set<int64_t> events;
  for (const Split split : kSplits) {
    const Rows& part = rows.rows(split);
    for (size_t row = 0; row < part.user.size(); ++row) {
      const int64_t time = part.time[row];
      EXPECT_EQ(split, time < 10 ? Split::kTrain : time < 15 ? Split::kValid : Split::kTest);
      EXPECT_LT(time, 25);
      if (part.label[row] > 0) {
        EXPECT_TRUE(events.insert(part.event[row]).second);
      }
    }
  }
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  EXPECT_EQ(std::count_if(times.begin(), times.end(), [](int64_t time) { return time < 25; }),
            static_cast<int64_t>(events.size()));
}

TEST_F(RowsTest, RowTimesAreThoseOfTheDrawnUsers) {
  const SplitOptions options{.user_share = 0.2,
                             .cuts = TimeCuts{.valid_from = 10, .test_from = 15, .end = 100}};
  const RowSet rows = split(options);
  std::vector<int64_t> expected;
  for (const Split part : kSplits) {
    const Rows& of = rows.rows(part);
    for (size_t row = 0; row < of.user.size(); ++row)
      if (of.label[row] > 0) expected.push_back(of.time[row]);
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(row_times(*dataset_, options), expected);
  EXPECT_LT(expected.size(), row_times(*dataset_, {}).size() / 2);
}

TEST_F(RowsTest, NegativesBetweenExplicitCutsWereSeenBeforeAndDoNotDependOnTheCuts) {
  std::vector<int64_t> first(static_cast<size_t>(dataset_->num_items()) + 1, 1000);
  for (size_t event = 0; event < dataset_->event_item().size(); ++event) {
    int64_t& seen = first[static_cast<size_t>(dataset_->event_item()[event])];
    seen = std::min(seen, dataset_->event_time()[event]);
  }
  // Rows of events before 20, by event and item.
  const auto rows_of = [&](const TimeCuts& cuts) {
    const RowSet rows = split({.negatives = 2, .cuts = cuts});
    std::set<std::pair<int64_t, int32_t>> found;
    for (const Split split : kSplits) {
      const Rows& part = rows.rows(split);
      for (size_t row = 0; row < part.user.size(); ++row) {
        if (part.time[row] >= 5) {  // later than that, enough items are known
          EXPECT_LE(first[static_cast<size_t>(part.item[row])], part.time[row]);
        }
        if (part.label[row] == 0) {
          EXPECT_FALSE(touched(part.user[row]).contains(part.item[row]));
        }
        if (part.time[row] < 20) found.emplace(part.event[row], part.item[row]);
      }
    }
    return found;
  };
  const auto late = rows_of({.valid_from = 18, .test_from = 18, .end = 30});
  EXPECT_EQ(late, rows_of({.valid_from = 8, .test_from = 12, .end = 20}));
  EXPECT_TRUE(RowSet(shop_.path("rows.safetensors")).rows(Split::kValid).size() > 0);
}

TEST_F(RowsTest, SaysWhatCannotBeSplit) {
  EXPECT_THAT(error_of([&] { split({.min_history = 1000}); }), HasSubstr("train split"));
  EXPECT_THAT(error_of([&] { split({.method = "loo"}); }), HasSubstr("leave_one_out"));
  const Dataset greedy = shop_.import(
      shop_.table("interactions: {file: with_greedy.csv, user: who, item: what, time: when}"));
  EXPECT_THAT(error_of([&] { write_rows(greedy, {}, shop_.path("r")); }),
              HasSubstr("user 'all' touched 40 of 40 items"));
  EXPECT_THAT(error_of([&] { write_rows(greedy, {.rating_threshold = 3}, shop_.path("r")); }),
              HasSubstr("has no ratings"));
  EXPECT_FALSE(std::filesystem::exists(shop_.path("r")));
  EXPECT_THAT(error_of([&] { RowSet rows(shop_.out()); }), HasSubstr("not an llmcf file of rows"));
}

TEST_F(RowsTest, SharesAreChecked) {
  const Config config = Config::parse("method: time\nvalid_share: 0.5\ntest_share: 0.5\n");
  EXPECT_THAT(error_of([&] { SplitOptions::from(config); }), HasSubstr("nothing to train on"));
  const Config none = Config::parse("method: time\ntest_share: 0\n");
  EXPECT_THAT(error_of([&] { SplitOptions::from(none); }),
              HasSubstr("test_share: must be above 0"));
}

}  // namespace
}  // namespace llmcf::data
