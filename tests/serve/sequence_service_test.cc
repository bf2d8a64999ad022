// Sequence bundles in service: one that answers alone, and one whose items a click bundle ranks.
#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "serve/api.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kTime = 1'700'000'100;

class SequenceServiceTest : public ::testing::Test {
 protected:
  static ToyOptions sequence(uint64_t seed = 7) {
    return {.context = "none", .backbone = "sasrec", .history_length = 5, .seed = seed};
  }
  std::filesystem::path file(const char* name) const { return directory_.path() / name; }
  void open(const std::filesystem::path& bundle, const std::filesystem::path& candidates = {},
            const ItemListOptions& list = {}) {
    service_.reset();
    service_ = std::make_unique<Service>(bundle, open_sqlite_store(file("histories.sqlite")),
                                         ServiceLimits{},
                                         FirstStageOptions{.candidates = candidates, .list = list});
  }
  void alone(const ToyOptions& toy = sequence()) {
    write_toy_bundle(toy, file("sequence.bundle"));
    open(file("sequence.bundle"));
  }
  // Items 1 to 60 are ranked, 21 to 80 are listed.
  void pair() {
    ToyOptions listed = sequence();
    listed.first_item = 21;
    write_toy_bundle({}, file("click.bundle"));
    write_toy_bundle(listed, file("sequence.bundle"));
    open(file("click.bundle"), file("sequence.bundle"));
  }
  Json recommend(Json body) {
    if (!body.contains("time")) body["time"] = kTime;
    return Json::parse(json_text(service_->recommend(body)));
  }
  Json rank(Json body) {
    body["time"] = kTime;
    return Json::parse(json_text(service_->rank(body)));
  }
  static std::vector<std::string> names(const Json& answer) {
    std::vector<std::string> result;
    for (const Json& item : answer["items"])
      result.push_back(item["item"]);
    return result;
  }
  static Json items(int from, int to) {
    Json list = Json::array();
    for (int i = from; i <= to; ++i)
      list.push_back("item-" + std::to_string(i));
    return list;
  }
  template <typename Function>
  static std::string error_of(Function function) {
    try {
      function();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Service> service_;
};

TEST_F(SequenceServiceTest, RecommendsAndRanksByInnerProduct) {
  alone();
  const Json best = recommend({{"user", "user-3"}, {"k", 60}});
  EXPECT_EQ(best["first_stage"], "sequence");
  const auto listed = names(best);
  std::set<std::string> seen;
  const Bundle& bundle = service_->deployment()->bundle();
  for (const int32_t item : bundle.history(3))
    seen.insert(std::string(bundle.items()[item]));
  EXPECT_EQ(listed.size(), 60 - seen.size());
  for (const std::string& item : listed)
    EXPECT_FALSE(seen.contains(item)) << item;
  const Json ranked = rank({{"user", "user-3"}, {"candidates", listed}});
  EXPECT_EQ(ranked["items"], best["items"]) << "the same scores, in the same order";
  EXPECT_NE(listed, names(recommend({{"user", "user-4"}, {"k", 60}})));
}

TEST_F(SequenceServiceTest, OnlyTheWindowOfAHistoryCounts) {
  alone();
  const auto of = [&](const Json& history) {
    return recommend({{"history", history}, {"exclude_seen", false}, {"k", 60}})["items"];
  };
  EXPECT_EQ(of(items(1, 30)), of(items(26, 30)));  // five items
  EXPECT_NE(of(items(1, 30)), of(items(27, 30)));
  EXPECT_NE(of({"item-1", "item-2"}), of({"item-2", "item-1"}));
  EXPECT_EQ(of({"item-1", "gone", "item-2"}), of({"item-1", "item-2"}));
}

TEST_F(SequenceServiceTest, NobodyInParticularIsShownWhatIsPopular) {
  alone();
  const Json answer = recommend({{"user", "stranger"}, {"k", 5}, {"first_stage", 5}});
  EXPECT_EQ(answer["first_stage"], "popular");
  EXPECT_EQ(answer["known_user"], false);
  const auto listed = names(answer);
  const std::set<std::string> found(listed.begin(), listed.end());
  const auto deployment = service_->deployment();
  for (size_t i = 0; i < 5; ++i)
    EXPECT_TRUE(
        found.contains(std::string(deployment->bundle().items()[deployment->popular()[i]])));
  EXPECT_EQ(recommend({{"history", {"gone"}}})["first_stage"], "popular");
  EXPECT_THAT(service_->metrics().text(),
              HasSubstr("llmcf_fallbacks_total{reason=\"no_history\"} 2"));
}

TEST_F(SequenceServiceTest, UnknownCandidatesComeLastWithoutAScore) {
  alone();
  const Json answer =
      rank({{"user", "user-3"}, {"candidates", {"no such", "item-1", "item-2", "nor this"}}});
  EXPECT_EQ(answer["unknown_candidates"], Json::parse(R"(["no such","nor this"])"));
  EXPECT_TRUE(answer["items"][0]["score"].is_number());
  EXPECT_TRUE(answer["items"][1]["score"].is_number());
  EXPECT_EQ(answer["items"][2]["item"], "no such");
  EXPECT_TRUE(answer["items"][2]["score"].is_null());
  EXPECT_TRUE(service_->explain({{"user", "user-3"}, {"item", "no such"}})["score"].is_null());
}

TEST_F(SequenceServiceTest, FiltersNeedNoFieldOfTheModel) {
  alone();
  const Bundle& bundle = service_->deployment()->bundle();
  const Json brand =
      recommend({{"user", "user-2"}, {"k", 60}, {"filters", {{"brand", {"brand-2"}}}}});
  ASSERT_GT(brand["items"].size(), 0U);
  for (const std::string& name : names(brand))
    EXPECT_EQ(bundle.vocabulary(2)[bundle.values(2).ids_of(*bundle.items().find(name))[0]],
              "brand-2");
  const Json some = recommend(
      {{"history", {"item-60"}}, {"allow", items(1, 9)}, {"deny", items(3, 4)}, {"k", 3}});
  EXPECT_EQ(some["items"].size(), 3U);
}

TEST_F(SequenceServiceTest, ExamplesAreReadAndExplained) {
  ToyOptions toy = sequence();
  toy.context = "ict";
  alone(toy);
  const Json answer = service_->explain({{"user", "user-3"}, {"item", "item-7"}, {"time", kTime}});
  ASSERT_EQ(answer["examples"].size(), 8U);
  EXPECT_NE(answer["score"], answer["score_without_examples"]);
  double attention = 0;
  for (const Json& example : answer["examples"])
    attention += example["attention"].get<double>();
  EXPECT_GT(attention, 0);
  EXPECT_LT(attention, 1);
  const Json ranked = rank({{"user", "user-3"}, {"candidates", {"item-7"}}});
  EXPECT_FLOAT_EQ(ranked["items"][0]["score"].get<float>(), answer["score"].get<float>());
  EXPECT_EQ(recommend({{"user", "user-2"}, {"diversity", 0.9}})["items"][0],
            recommend({{"user", "user-2"}})["items"][0]);
}

TEST_F(SequenceServiceTest, NoItemCanBeAdded) {
  alone();
  EXPECT_THAT(error_of([&] {
                service_->add_items({{"items", {{{"item", "new"}, {"title", "brand-1 thing"}}}}});
              }),
              HasSubstr("publish a run that has it"));
}

TEST_F(SequenceServiceTest, AClickBundleRanksWhatASequenceBundleLists) {
  pair();
  const Json info = service_->info()["candidates"];
  EXPECT_EQ(info["items_not_ranked"], 20);
  EXPECT_EQ(info["items_not_listed"], 20);
  const Json history = items(30, 33);
  const Json answer = recommend({{"history", history}, {"k", 6}, {"first_stage", 6}});
  EXPECT_EQ(answer["first_stage"], "sequence");
  // The candidates are the best of the sequence model that the click model knows; their order is
  // the click model's.
  Service listing(file("sequence.bundle"), open_sqlite_store(file("other.sqlite")),
                  ServiceLimits{});
  Json allowed = items(21, 60);
  const Json wanted = Json::parse(json_text(
      listing.recommend({{"history", history}, {"k", 6}, {"allow", allowed}, {"time", kTime}})));
  auto found = names(answer), expected = names(wanted);
  EXPECT_EQ(names(rank({{"history", history}, {"candidates", expected}})), found);
  std::sort(found.begin(), found.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(found, expected);
}

TEST_F(SequenceServiceTest, ListsAreFilledWithWhatOnlyTheClickBundleKnows) {
  pair();
  const Json all = recommend({{"history", items(30, 33)}, {"k", 60}});
  EXPECT_EQ(all["items"].size(), 56U);
  EXPECT_EQ(all["first_stage"], "sequence");
  const Json only = recommend({{"history", items(30, 33)}, {"k", 3}, {"allow", items(2, 9)}});
  EXPECT_EQ(only["items"].size(), 3U);
  service_->add_items({{"items",
                        {{{"item", "new-1"}, {"title", "brand-3 thing"}},
                         {{"item", "item-40"}, {"title", "brand-3 thing"}}}}});
  const Json fresh =
      recommend({{"history", items(30, 33)}, {"allow", {"new-1", "item-40"}}, {"k", 5}});
  EXPECT_EQ(fresh["items"].size(), 2U) << fresh;
  const auto listed = names(recommend({{"history", items(30, 33)}, {"k", 100}}));
  EXPECT_EQ(std::count(listed.begin(), listed.end(), "item-40"), 1);
}

TEST_F(SequenceServiceTest, HistoriesThatTheSequenceBundleDoesNotKnowFallBack) {
  pair();
  EXPECT_EQ(recommend(Json::object())["first_stage"], "popular");
  EXPECT_EQ(recommend({{"history", items(1, 3)}})["first_stage"], "similar");
  EXPECT_EQ(recommend({{"history", items(70, 72)}})["first_stage"], "sequence");
}

TEST_F(SequenceServiceTest, AppendedEventsCountForBoth) {
  pair();
  const Json before = recommend({{"user", "new"}});
  EXPECT_EQ(before["first_stage"], "popular");
  service_->add_events({{"events",
                         {{{"user", "new"}, {"item", "item-30"}, {"time", kTime}},
                          {{"user", "new"}, {"item", "item-41"}, {"time", kTime}}}}});
  const Json stored = recommend({{"user", "new"}});
  EXPECT_EQ(stored["first_stage"], "sequence");
  EXPECT_EQ(stored["items"], recommend({{"history", {"item-30", "item-41"}}})["items"]);
}

TEST_F(SequenceServiceTest, EachFileIsSwappedOnItsOwn) {
  pair();
  const auto versions = [&] {
    const Json info = service_->info();
    return std::pair(info["bundle"], info["candidates"]["bundle"]);
  };
  const auto first = versions();
  write_toy_bundle(sequence(11), file("sequence.bundle"));
  service_->reload();
  const auto second = versions();
  EXPECT_EQ(second.first, first.first);
  EXPECT_NE(second.second, first.second);
  EXPECT_EQ(service_->info()["candidates"]["items_not_listed"], 0);
  // One is damaged: the other comes into service, and the reason is told.
  write_file(file("sequence.bundle"), "damaged");
  write_toy_bundle({.seed = 5}, file("click.bundle"));
  EXPECT_THAT(error_of([&] { service_->reload(); }), HasSubstr("sequence.bundle"));
  const auto third = versions();
  EXPECT_NE(third.first, second.first);
  EXPECT_EQ(third.second, second.second);
  write_file(file("click.bundle"), "damaged");
  write_toy_bundle(sequence(13), file("sequence.bundle"));
  EXPECT_THAT(error_of([&] { service_->reload(); }), HasSubstr("click.bundle"));
  const auto fourth = versions();
  EXPECT_EQ(fourth.first, third.first);
  EXPECT_NE(fourth.second, third.second);
  EXPECT_EQ(recommend({{"history", items(30, 33)}})["items"].size(), 10U);
}

TEST_F(SequenceServiceTest, SwapsUnderLoadAreConsistent) {
  pair();
  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0, answered = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        const Json answer = recommend({{"history", items(30, 33)}, {"k", 7}});
        (answer["items"].size() == 7 ? answered : failed) += 1;
      }
    });
  for (uint64_t seed = 20; seed < 26; ++seed) {
    ToyOptions listed = sequence(seed), ranked;
    listed.first_item = seed % 2 == 0 ? 1 : 21;
    listed.items = 40 + static_cast<int64_t>(seed);
    ranked.seed = seed;
    ranked.items = 90 - static_cast<int64_t>(seed);
    write_toy_bundle(listed, file("sequence.bundle"));
    write_toy_bundle(ranked, file("click.bundle"));
    service_->reload();
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(answered, 0);
}

TEST_F(SequenceServiceTest, WrongPairsAreRefusedByName) {
  write_toy_bundle({}, file("click.bundle"));
  write_toy_bundle(sequence(), file("sequence.bundle"));
  EXPECT_THAT(error_of([&] { open(file("click.bundle"), file("click.bundle")); }),
              HasSubstr("no bundle of a sequence backbone"));
  EXPECT_THAT(error_of([&] { open(file("sequence.bundle"), file("sequence.bundle")); }),
              HasSubstr("without candidates"));
}

TEST_F(SequenceServiceTest, AnApproximateIndexServesToo) {
  write_toy_bundle({}, file("click.bundle"));
  write_toy_bundle(sequence(), file("sequence.bundle"));
  open(file("click.bundle"), file("sequence.bundle"), {.approximate = true, .probes = 1});
  EXPECT_EQ(recommend({{"history", items(30, 33)}, {"k", 56}})["items"].size(), 56U);
  const ApiOptions options = ApiOptions::from(Config::parse(
      "{candidates: {bundle: /a/b.bundle}, first_stage: {index: approximate, probes: 3}}"));
  EXPECT_EQ(options.first_stage.candidates, "/a/b.bundle");
  EXPECT_EQ(options.first_stage.list.probes, 3);
  EXPECT_THROW(ApiOptions::from(Config::parse("{candidates: {bundel: x}}")), InputError);
}

}  // namespace
}  // namespace llmcf::serve
