// Several bundles in one service: who answers whom, what the shadow sees, what the metrics say of
// each.
#include "serve/releases.h"

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "net/http_client.h"
#include "serve/api.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kMoment = 1'700'000'000;

class ReleasesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_toy_bundle({}, primary());
    write_toy_bundle({.seed = 2}, second());
  }
  std::filesystem::path primary() const { return directory_.path() / "primary.bundle"; }
  std::filesystem::path second() const { return directory_.path() / "second.bundle"; }

  void open(const ServiceLimits& limits = {}) {
    service_ = std::make_unique<Service>(
        primary(), open_sqlite_store(directory_.path() / "histories.sqlite"), limits);
  }
  Json rank(const Json& body, const std::string& id = "") {
    return Json::parse(json_text(service_->rank(body, id)));
  }
  static Json request(const std::string& user, int items = 30) {
    Json list = Json::array();
    for (int i = 1; i <= items; ++i)
      list.push_back("item-" + std::to_string(i));
    return {{"user", user}, {"candidates", list}, {"time", kMoment}};
  }
  // The value of a series by its whole name; NaN if it is not there.
  double metric(const std::string& series) {
    service_->update_gauges();
    const std::string text = "\n" + service_->metrics().text();
    const auto at = text.find("\n" + series + " ");
    return at == std::string::npos ? std::nan("") : std::stod(text.substr(at + series.size() + 2));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Service> service_;
};

TEST_F(ReleasesTest, TheCanaryHasItsShareOfTheUsersAndKeepsThem) {
  open();
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 0.2});
  constexpr int kUsers = 2000;
  std::set<std::string> small, large;
  const auto canaries = [&] {
    std::set<std::string> users;
    for (int user = 0; user < kUsers; ++user) {
      const std::string name = "somebody " + std::to_string(user);
      if (rank(request(name, 1))["release"] == "canary") users.insert(name);
    }
    return users;
  };
  small = canaries();
  // Five standard deviations of a binomial count.
  EXPECT_NEAR(static_cast<double>(small.size()), 0.2 * kUsers, 5 * std::sqrt(0.16 * kUsers));
  EXPECT_EQ(canaries(), small) << "a user sees one bundle";
  service_->put(Role::kCanary, Json{{"share", 0.4}});
  large = canaries();
  EXPECT_NEAR(static_cast<double>(large.size()), 0.4 * kUsers, 5 * std::sqrt(0.24 * kUsers));
  EXPECT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end()));
  EXPECT_EQ(metric("llmcf_bundle_requests_total{bundle=\"canary\"}"),
            static_cast<double>(2 * small.size() + large.size()));
  EXPECT_EQ(metric("llmcf_release_share{bundle=\"primary\"}"), 0.6);
}

TEST_F(ReleasesTest, WhoIsNotNamedIsDividedByRequest) {
  open();
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 0.5});
  std::set<std::string> seen;
  const Json body = {{"candidates", {"item-1"}}};
  for (int i = 0; i < 40; ++i) {
    const std::string id = "request-" + std::to_string(i);
    seen.insert(rank(body, id)["release"]);
    EXPECT_EQ(rank(body, id)["release"], rank(body, id)["release"]);
  }
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(rank(body)["release"], "primary");
}

TEST_F(ReleasesTest, TheCanaryAnswersAsItsBundleWould) {
  open();
  const Json from_primary = rank(request("user-3"));
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 1});
  const Json from_canary = rank(request("user-3"));
  EXPECT_EQ(from_canary["release"], "canary");
  EXPECT_NE(from_canary["bundle"], from_primary["bundle"]);
  std::filesystem::rename(second(), primary());
  service_->remove(Role::kCanary);
  EXPECT_EQ(rank(request("user-3")), from_primary) << "the file alone changes nothing";
  service_->reload();
  EXPECT_EQ(metric("llmcf_reloads_total{result=\"ok\"}"), 1);
  Json promoted = rank(request("user-3"));
  EXPECT_EQ(promoted["release"], "primary");
  promoted["release"] = "canary";
  EXPECT_EQ(promoted, from_canary);
  EXPECT_EQ(service_->explain({{"user", "user-3"}, {"item", "item-1"}})["release"], "primary");
}

TEST_F(ReleasesTest, AShadowChangesNoAnswerAndIsCompared) {
  open();
  std::map<std::string, Json> before;
  for (int user = 1; user <= 20; ++user)
    before["user-" + std::to_string(user)] = rank(request("user-" + std::to_string(user)));
  const Json recommended = Json::parse(json_text(service_->recommend({{"user", "user-1"}})));
  service_->put(Role::kShadow, SecondBundle{.file = second(), .share = 1});
  for (const auto& [user, answer] : before)
    EXPECT_EQ(rank(request(user)), answer);
  EXPECT_EQ(Json::parse(json_text(service_->recommend({{"user", "user-1"}}))), recommended);
  service_->wait_for_shadow();
  const double scored = metric("llmcf_shadow_requests_total{result=\"scored\"}");
  const double dropped = metric("llmcf_shadow_requests_total{result=\"dropped\"}");
  EXPECT_EQ(scored + (std::isnan(dropped) ? 0 : dropped), 21);
  EXPECT_GE(scored, 15);
  EXPECT_EQ(metric("llmcf_bundle_requests_total{bundle=\"shadow\"}"), scored);
  EXPECT_EQ(metric("llmcf_bundle_requests_total{bundle=\"primary\"}"), 42);
  // Another bundle, other scores.
  EXPECT_LT(metric("llmcf_shadow_agreement_sum{measure=\"kendall_tau\"}"), 0.9 * scored);
  EXPECT_GT(metric("llmcf_shadow_agreement_sum{measure=\"difference\"}"), 0.001 * scored);
  EXPECT_EQ(metric("llmcf_stage_seconds_count{stage=\"score\"}"), 42)
      << "what the shadow does is in no answer's time";
}

TEST_F(ReleasesTest, TheSameBundleAsShadowAgreesInEverything) {
  open();
  service_->add_items({{"items", {{{"item", "new"}, {"title", "brand-1 thing"}}}}});
  service_->add_events({{"events",
                         {{{"user", "user-2"}, {"item", "new"}, {"time", kMoment + 5}},
                          {{"user", "user-2"}, {"item", "nowhere"}, {"time", kMoment + 6}}}}});
  service_->put(Role::kShadow, SecondBundle{.file = primary(), .share = 1});
  Json body = request("user-2");
  body["candidates"].push_back("no such item");
  body["candidates"].push_back("new");
  body["context"] = {{"when", "morning"}};
  rank(body);
  rank({{"history", {"item-4", "new"}}, {"candidates", {"item-1", "item-2"}}});
  service_->wait_for_shadow();
  EXPECT_EQ(metric("llmcf_shadow_requests_total{result=\"scored\"}"), 2);
  EXPECT_EQ(metric("llmcf_shadow_agreement_sum{measure=\"difference\"}"), 0);
  EXPECT_EQ(metric("llmcf_shadow_agreement_sum{measure=\"kendall_tau\"}"), 2);
  EXPECT_EQ(metric("llmcf_shadow_agreement_sum{measure=\"overlap_at_10\"}"), 2);
}

TEST_F(ReleasesTest, AShareOfTheRequestsIsShadowed) {
  open();
  service_->put(Role::kShadow, SecondBundle{.file = second(), .share = 0.3});
  for (int user = 0; user < 400; ++user) {
    rank(request("somebody " + std::to_string(user), 1));
    if (user % 50 == 0) service_->wait_for_shadow();
  }
  service_->wait_for_shadow();
  const double dropped = metric("llmcf_shadow_requests_total{result=\"dropped\"}");
  EXPECT_NEAR(metric("llmcf_shadow_requests_total{result=\"scored\"}") +
                  (std::isnan(dropped) ? 0 : dropped),
              0.3 * 400, 5 * std::sqrt(0.21 * 400));
}

TEST_F(ReleasesTest, AShadowThatCannotKeepUpIsDroppedFrom) {
  open({.shadow_queue = 1});
  service_->put(Role::kShadow, SecondBundle{.file = second(), .share = 1});
  const Json one = request("user-1", 60);
  Json many = {{"requests", Json::array()}};
  for (int i = 0; i < 64; ++i)
    many["requests"].push_back(one);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(rank(many)["responses"].size(), 64U);
  service_->wait_for_shadow();
  const double dropped = metric("llmcf_shadow_requests_total{result=\"dropped\"}");
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(dropped + metric("llmcf_shadow_requests_total{result=\"scored\"}"), 5 * 64);
}

// A body's requests come from one lineup; a request's scores are those of the bundle it names.
TEST_F(ReleasesTest, NoRequestMixesBundles) {
  open();
  const Json body = request("user-4");
  std::map<std::string, Json> expected;
  const auto remember = [&](const Json& answer) { expected[answer["bundle"]] = answer["items"]; };
  remember(rank(body));
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 1});
  remember(rank(body));
  ASSERT_EQ(expected.size(), 2U);
  service_->put(Role::kShadow, SecondBundle{.file = primary(), .share = 1});
  Json batch = {{"requests", {body, body, body}}};
  std::atomic<bool> stop = false;
  std::atomic<int> mixed = 0, wrong = 0, answers = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        const Json all = rank(batch)["responses"];
        for (const Json& answer : all) {
          mixed += answer["bundle"] != all[0]["bundle"] ? 1 : 0;
          wrong += answer["items"] != expected.at(answer["bundle"]) ? 1 : 0;
        }
        ++answers;
      }
    });
  for (int round = 0; round < 10; ++round) {
    service_->put(Role::kCanary, Json{{"share", round % 2}});
    service_->reload(kRoles[static_cast<size_t>(round % 3)]);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stop = true;
  threads.clear();
  EXPECT_GT(answers, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_EQ(wrong, 0);
}

TEST_F(ReleasesTest, ADamagedSecondBundleChangesNothing) {
  open();
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 1});
  const Json before = rank(request("user-1"));
  write_file(second(), "damaged");
  EXPECT_THROW(service_->reload(Role::kCanary), InputError);
  EXPECT_THROW(service_->put(Role::kCanary, Json{{"bundle", second().string()}}), Error);
  EXPECT_EQ(rank(request("user-1")), before);
  EXPECT_THROW(service_->reload(Role::kShadow), Error) << "there is none";
  EXPECT_THROW(service_->put(Role::kShadow, Json{{"share", 0.5}}), Error);
  EXPECT_EQ(metric("llmcf_reloads_total{result=\"failed\"}"), 1) << "what is not there, is not one";
  service_->remove(Role::kCanary);
  EXPECT_EQ(rank(request("user-1"))["release"], "primary");
  EXPECT_TRUE(std::isnan(metric("llmcf_release_share{bundle=\"canary\"}")));
}

TEST_F(ReleasesTest, AdministratorsPutAndTakeBundles) {
  ::setenv("LLMCF_TEST_KEYS", "one", 1);
  ::setenv("LLMCF_TEST_ADMIN", "root", 1);
  open();
  const Api api(*service_, ApiOptions::from(Config::parse(
                               "{listen: {port: 0, workers: 1}, keys: {env: LLMCF_TEST_KEYS, "
                               "admin_env: LLMCF_TEST_ADMIN}}")));
  net::HttpClient client;
  const auto send = [&](const char* key, const char* method, const char* path, const Json& body) {
    net::HttpRequest request{.method = method, .url = api.url() + path};
    request.headers = {{"X-API-Key", key}};
    if (!body.is_null()) request.body = body.dump();
    const auto response = client.send(request);
    return std::pair(response.status, Json::parse(response.body));
  };
  const auto answering = [&] {
    return send("one", "POST", "/v1/rank", request("u", 1)).second["release"];
  };
  EXPECT_EQ(send("one", "POST", "/v1/canary", Json::object()).first, 401);
  const Json empty = send("root", "POST", "/v1/canary", Json::object()).second;
  EXPECT_EQ(empty["error"]["param"], "bundle");
  const Json nowhere = send("root", "POST", "/v1/canary", {{"bundle", "nowhere"}}).second;
  EXPECT_EQ(nowhere["error"]["param"], "bundle");
  EXPECT_EQ(send("root", "POST", "/v1/reload", {{"release", "canary"}}).first, 409);
  EXPECT_EQ(send("root", "POST", "/v1/reload", {{"release", "canry"}}).first, 400);
  EXPECT_EQ(answering(), "primary");
  const Json second_bundle = {{"bundle", second().string()}, {"share", 1}};
  EXPECT_EQ(send("root", "POST", "/v1/canary", second_bundle).first, 200);
  EXPECT_EQ(answering(), "canary");
  const Json told = send("one", "GET", "/v1/info", {}).second["releases"]["canary"];
  EXPECT_EQ(told["share"], 1);
  EXPECT_EQ(told["file"], second().string());
  EXPECT_EQ(send("root", "POST", "/v1/reload", {{"release", "canary"}}).first, 200);
  EXPECT_EQ(send("root", "POST", "/v1/reload", {}).first, 200);
  EXPECT_EQ(send("root", "DELETE", "/v1/canary", {}).second["removed"], true);
  EXPECT_EQ(send("root", "DELETE", "/v1/canary", {}).second["removed"], false);
  EXPECT_EQ(answering(), "primary");
}

TEST_F(ReleasesTest, ItemsThatAreAddedAreEverybodys) {
  open();
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 1});
  service_->add_items({{"items", {{{"item", "new"}, {"title", "brand-1 thing"}}}}});
  EXPECT_FALSE(rank({{"user", "u"}, {"candidates", {"new"}}}).contains("unknown_candidates"));
  service_->remove(Role::kCanary);
  EXPECT_FALSE(rank({{"user", "u"}, {"candidates", {"new"}}}).contains("unknown_candidates"));
  service_->put(Role::kCanary, SecondBundle{.file = second(), .share = 1});
  EXPECT_FALSE(rank({{"user", "u"}, {"candidates", {"new"}}}).contains("unknown_candidates"));
}

TEST_F(ReleasesTest, DriftRisesWhenRequestsAreOthers) {
  open({.window = 40});
  const std::string drift =
      "llmcf_similarity_drift{bundle=\"primary\",measure=\"population_stability\"}";
  for (int user = 1; user <= 40; ++user)
    rank(request("user-" + std::to_string(user), 60));
  const double usual = metric(drift);
  EXPECT_LT(usual, 0.1);
  // Strangers who are shown what nobody has seen before.
  Json items = Json::array(), names = Json::array();
  for (int i = 0; i < 10; ++i) {
    names.push_back("novelty " + std::to_string(i));
    items.push_back({{"item", names.back()}, {"title", "unheard of"}});
  }
  service_->add_items({{"items", items}});
  for (int i = 0; i < 40; ++i)
    rank({{"user", "stranger"}, {"candidates", names}});
  EXPECT_GT(metric(drift), 0.25);
  EXPECT_GT(metric("llmcf_similarity_drift{bundle=\"primary\",measure=\"kolmogorov_smirnov\"}"),
            0.5);
  EXPECT_EQ(metric("llmcf_window_share{bundle=\"primary\",what=\"no_history\"}"), 1);
  const Json told = service_->info()["releases"]["primary"]["window"];
  EXPECT_EQ(told["requests"], 40);
  EXPECT_GT(told["population_stability"].get<double>(), 0.25);
}

TEST_F(ReleasesTest, AgesAndCoverageAreOfWhatWasRead) {
  open();
  rank(request("user-1", 5));
  EXPECT_EQ(metric("llmcf_bundle_coverage_total{bundle=\"primary\",what=\"candidates\"}"), 5);
  EXPECT_EQ(metric("llmcf_bundle_coverage_total{bundle=\"primary\",what=\"complete\"}"), 5);
  EXPECT_EQ(metric("llmcf_bundle_coverage_total{bundle=\"primary\",what=\"filled_slots\"}"), 40);
  EXPECT_EQ(metric("llmcf_bundle_score_count{bundle=\"primary\"}"), 5);
  EXPECT_EQ(metric("llmcf_bundle_example_age_seconds_count{bundle=\"primary\"}"), 40);
  const double young = metric("llmcf_bundle_example_age_seconds_sum{bundle=\"primary\"}");
  EXPECT_GT(young, 0);
  EXPECT_LE(young, 40 * 400.0 * 86400) << "the toy's examples are at most 400 days old";
  Json later = request("user-1", 5);
  later["time"] = kMoment + 1000;
  rank(later);
  EXPECT_NEAR(metric("llmcf_bundle_example_age_seconds_sum{bundle=\"primary\"}"),
              2 * young + 40 * 1000, 1e-6 * young);
  EXPECT_GE(metric("llmcf_pool_age_seconds{bundle=\"primary\",example=\"median\"}"),
            metric("llmcf_pool_age_seconds{bundle=\"primary\",example=\"newest\"}"));
  rank({{"candidates", {"item-1", "no such"}}});
  EXPECT_EQ(metric("llmcf_bundle_fallbacks_total{bundle=\"primary\",reason=\"no_history\"}"), 1);
  EXPECT_EQ(
      metric("llmcf_bundle_fallbacks_total{bundle=\"primary\",reason=\"unknown_candidates\"}"), 1);
  EXPECT_NEAR(metric("llmcf_window_share{bundle=\"primary\",what=\"no_history\"}"), 1.0 / 3, 1e-6);
}

// Users 1 and 2 have a text, user 3 has none (toy_bundle.cc).
TEST_F(ReleasesTest, TextsAboutUsersAreMissedAndGrowOld) {
  write_toy_bundle({.context = "kar"}, primary());
  open();
  const auto lengths = service_->deployment()->bundle().user_text_length();
  ASSERT_GT(lengths[1], 0);
  EXPECT_TRUE(rank(request("user-1"))["fallback"].is_null());
  EXPECT_EQ(rank(request("user-3"))["fallback"], "no_user_text");
  EXPECT_EQ(rank(request("stranger"))["fallback"], "no_user_text");
  EXPECT_EQ(rank({{"history", {"item-1"}}, {"candidates", {"item-2"}}})["fallback"],
            "no_user_text");
  const auto history = static_cast<int64_t>(service_->deployment()->bundle().history(1).size());
  const std::string age = "llmcf_bundle_user_text_age_items_sum{bundle=\"primary\"}";
  const double before = metric(age);
  EXPECT_EQ(before, static_cast<double>(history - lengths[1]));
  // Up to the next power of two the text is the newest one that there could be.
  Json events = Json::array();
  for (int64_t i = history; i < 2 * lengths[1]; ++i)
    events.push_back({{"user", "user-1"}, {"item", "item-5"}, {"time", kMoment + i}});
  const Json last = events.back();
  events.erase(events.size() - 1);
  service_->add_events({{"events", events}});
  EXPECT_TRUE(rank(request("user-1"))["fallback"].is_null());
  service_->add_events({{"events", Json::array({last})}});
  EXPECT_EQ(rank(request("user-1"))["fallback"], "older_user_text");
  EXPECT_EQ(metric(age) - before, static_cast<double>(2 * lengths[1] - 1));
  EXPECT_EQ(metric("llmcf_bundle_fallbacks_total{bundle=\"primary\",reason=\"no_user_text\"}"), 3);
  EXPECT_EQ(metric("llmcf_bundle_fallbacks_total{bundle=\"primary\",reason=\"older_user_text\"}"),
            1);
  // Nothing is known of an item that is added: it is scored like the unknown one.
  service_->add_items({{"items", {{{"item", "new"}, {"title", "brand-1 thing"}}}}});
  const Json added = rank({{"user", "user-1"}, {"candidates", {"new", "no such item"}}})["items"];
  EXPECT_EQ(added[0]["score"], added[1]["score"]);
}

TEST_F(ReleasesTest, ConfigurationNamesTheSecondBundle) {
  const auto read = [&](const std::string& yaml) {
    write_file(directory_.path() / "serve.yaml", yaml);
    return SecondBundle::from(Config::load(directory_.path() / "serve.yaml"), Role::kCanary);
  };
  EXPECT_FALSE(read("{}"));
  const auto second_bundle = read("{canary: {bundle: second.bundle}}");
  ASSERT_TRUE(second_bundle);
  EXPECT_EQ(second_bundle->share, 0.05);
  EXPECT_TRUE(std::filesystem::equivalent(second_bundle->file, second()));
  EXPECT_THROW(read("{canary: {share: 0.1}}"), InputError);
  EXPECT_THROW(read("{canary: {bundle: second.bundle, share: 1.5}}"), InputError);
  EXPECT_THROW(read("{canary: {bundle: nowhere.bundle}}"), InputError);
}

}  // namespace
}  // namespace llmcf::serve
