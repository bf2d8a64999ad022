// The service over HTTP against a made-up bundle: answers, errors that name the field, histories
// that are visible at once, items added at run time, swaps under load, keys.
#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "net/http_client.h"
#include "serve/api.h"
#include "serve/rpc_server.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ServiceTest : public ::testing::Test {
 protected:
  void start(const std::string& yaml = "{listen: {port: 0, workers: 2}}",
             const ToyOptions& toy = {}) {
    write_toy_bundle(toy, file());
    open(yaml);
  }
  void open(const std::string& yaml = "{listen: {port: 0, workers: 2}}") {
    api_.reset();
    service_.reset();
    const ApiOptions options = ApiOptions::from(Config::parse(yaml));
    service_ = std::make_unique<Service>(
        file(), open_sqlite_store(directory_.path() / "histories.sqlite"), options.limits);
    api_ = std::make_unique<Api>(*service_, options);
  }
  std::filesystem::path file() const { return directory_.path() / "toy.bundle"; }

  net::HttpResponse send(const std::string& method, const std::string& path,
                         const std::string& body = "", const net::Headers& headers = {}) {
    net::HttpRequest request{.method = method, .url = api_->url() + path};
    request.headers = headers;
    request.body = body;
    return client_.send(request);
  }
  Json ask(const std::string& path, const Json& body, int status = 200) {
    const auto response = send("POST", path, body.dump());
    EXPECT_EQ(response.status, status) << response.body;
    return Json::parse(response.body);
  }
  // The parameter that a refused request names.
  std::string refused(const std::string& path, const std::string& body) {
    const auto response = send("POST", path, body);
    EXPECT_EQ(response.status, 400) << response.body;
    const Json error = Json::parse(response.body)["error"];
    return error["param"].is_string() ? error["param"].get<std::string>() : "none";
  }
  static Json items(int from, int to) {
    Json list = Json::array();
    for (int i = from; i <= to; ++i)
      list.push_back("item-" + std::to_string(i));
    return list;
  }

  TemporaryDirectory directory_;
  net::HttpClient client_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Api> api_;
};

TEST_F(ServiceTest, RanksCandidatesOfAKnownUser) {
  start();
  const Json answer = ask("/v1/rank", {{"user", "user-3"}, {"candidates", items(1, 50)}});
  ASSERT_EQ(answer["items"].size(), 50U);
  EXPECT_EQ(answer["known_user"], true);
  EXPECT_TRUE(answer["fallback"].is_null());
  std::set<std::string> names;
  double last = 1;
  for (const Json& item : answer["items"]) {
    names.insert(item["item"]);
    EXPECT_LE(item["score"].get<double>(), last);
    last = item["score"];
  }
  EXPECT_EQ(names.size(), 50U);
  EXPECT_GT(answer["items"][0]["score"].get<double>(), last);
  const Json two = ask("/v1/rank", {{"user", "user-3"}, {"candidates", items(1, 50)}, {"k", 2}});
  EXPECT_EQ(two["items"][1], answer["items"][1]);
  EXPECT_EQ(two["items"].size(), 2U);
}

TEST_F(ServiceTest, ScoresDoNotDependOnTheOtherCandidates) {
  start();
  const Json all =
      ask("/v1/rank", {{"user", "user-4"}, {"candidates", items(1, 60)}, {"time", 1'700'000'000}});
  for (int i = 1; i <= 60; i += 13) {
    const Json one =
        ask("/v1/rank", {{"user", "user-4"}, {"candidates", items(i, i)}, {"time", 1'700'000'000}});
    for (const Json& item : all["items"])
      if (item["item"] == one["items"][0]["item"]) {
        EXPECT_NEAR(item["score"].get<double>(), one["items"][0]["score"].get<double>(), 1e-6);
      }
  }
}

TEST_F(ServiceTest, UnknownUsersAndItemsAreServedAndNamed) {
  start();
  const Json answer =
      ask("/v1/rank", {{"user", "stranger"}, {"candidates", {"item-1", "no such"}}});
  EXPECT_EQ(answer["known_user"], false);
  EXPECT_EQ(answer["items"].size(), 2U);
  EXPECT_EQ(answer["unknown_candidates"], Json::parse(R"(["no such"])"));
  const Json history =
      ask("/v1/rank", {{"history", {"item-2", "gone"}}, {"candidates", {"item-1"}}});
  EXPECT_EQ(history["history"], 1);
  EXPECT_EQ(history["unknown_history"], 1);
  EXPECT_EQ(ask("/v1/recommend", Json::object())["items"].size(), 10U);
}

TEST_F(ServiceTest, AnExplicitHistoryEqualToTheStoredOneScoresTheSame) {
  start();
  const Bundle& bundle = service_->deployment()->bundle();
  Json history = Json::array();
  for (const int32_t item : bundle.history(5))
    history.push_back(bundle.items()[item]);
  Json body = {{"user", "user-5"}, {"candidates", items(1, 9)}, {"time", 1'700'000'000}};
  const Json stored = ask("/v1/rank", body);
  body["history"] = history;
  EXPECT_EQ(ask("/v1/rank", body), stored);
}

TEST_F(ServiceTest, ContextFeaturesCount) {
  start();
  Json body = {{"user", "user-5"}, {"candidates", items(1, 3)}, {"context", {{"when", "morning"}}}};
  const Json morning = ask("/v1/rank", body);
  body["context"]["when"] = "evening";
  EXPECT_NE(ask("/v1/rank", body)["items"], morning["items"]);
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":[],"context":{"wehn":"morning"}})"),
            "context.wehn");
}

TEST_F(ServiceTest, MistakesNameTheField) {
  start();
  EXPECT_EQ(refused("/v1/rank", "{"), "none");
  EXPECT_EQ(refused("/v1/rank", "[1]"), "none");
  EXPECT_EQ(refused("/v1/rank", "{}"), "candidates");
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":"item-1"})"), "candidates");
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":["item-1",7]})"), "candidates[1]");
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":[],"usr":"x"})"), "usr");
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":[],"user":""})"), "user");
  EXPECT_EQ(refused("/v1/rank", R"({"candidates":[],"k":-1})"), "k");
  EXPECT_EQ(refused("/v1/rank", R"({"requests":[{"candidates":[]},{"candidates":3}]})"),
            "requests[1].candidates");
  EXPECT_EQ(refused("/v1/events", R"({"events":[{"user":"u"}]})"), "events[0].item");
  EXPECT_EQ(refused("/v1/items", R"({"items":[{"item":"n","fields":{"barnd":["x"]}}]})"),
            "items[0].fields");
  EXPECT_EQ(refused("/v1/explain", R"({"user":"user-1"})"), "item");
  EXPECT_EQ(refused("/v1/recommend", R"({"filters":{"barnd":["x"]}})"), "filters.barnd");
  EXPECT_EQ(send("GET", "/v1/rank").status, 405);
  EXPECT_EQ(send("GET", "/v2/rank").status, 404);
}

TEST_F(ServiceTest, LimitsAreKept) {
  start("{listen: {port: 0, max_body_bytes: 2000}, limits: {candidates: 5, batch: 2, history: 3}}");
  EXPECT_EQ(refused("/v1/rank", Json{{"candidates", items(1, 6)}}.dump()), "candidates");
  EXPECT_EQ(refused("/v1/rank", Json{{"history", items(1, 4)}, {"candidates", items(1, 1)}}.dump()),
            "history");
  EXPECT_EQ(refused("/v1/rank", R"({"requests":[{},{},{}]})"), "requests");
  EXPECT_EQ(send("POST", "/v1/rank", std::string(2001, ' ')).status, 413);
}

TEST_F(ServiceTest, EventsAreVisibleToTheNextRequestAndSurviveARestart) {
  start();
  const Json before = ask("/v1/rank", {{"user", "new"}, {"candidates", items(1, 20)}});
  EXPECT_EQ(before["history"], 0);
  Json events = Json::array();
  for (int i = 1; i <= 3; ++i)
    events.push_back({{"user", "new"}, {"item", "item-" + std::to_string(i)}});
  EXPECT_EQ(ask("/v1/events", {{"events", events}})["stored"], 3);
  const Json after = ask("/v1/rank", {{"user", "new"}, {"candidates", items(1, 20)}});
  EXPECT_EQ(after["history"], 3);
  EXPECT_NE(after["items"], before["items"]);
  open();
  EXPECT_EQ(ask("/v1/rank", {{"user", "new"}, {"candidates", items(1, 20)}})["history"], 3);
  EXPECT_EQ(Json::parse(send("DELETE", "/v1/users/new").body)["removed_events"], 3);
  EXPECT_EQ(ask("/v1/rank", {{"user", "new"}, {"candidates", items(1, 20)}})["history"], 0);
}

TEST_F(ServiceTest, EventsThatTheLogHoldsAlreadyDoNotCountTwice) {
  start();
  const int64_t end = service_->deployment()->spec().log_end;
  const Json before = ask("/v1/rank", {{"user", "user-6"}, {"candidates", items(1, 1)}});
  ask("/v1/events", {{"events",
                      {{{"user", "user-6"}, {"item", "item-1"}, {"time", end}},
                       {{"user", "user-6"}, {"item", "item-1"}, {"time", end + 1}}}}});
  EXPECT_EQ(ask("/v1/rank", {{"user", "user-6"}, {"candidates", items(1, 1)}})["history"],
            before["history"].get<int>() + 1);
}

TEST_F(ServiceTest, RecommendsUnseenItemsThatPassTheFilters) {
  start();
  const Bundle& bundle = service_->deployment()->bundle();
  const Json answer = ask("/v1/recommend", {{"user", "user-2"}, {"k", 60}});
  std::set<std::string> seen;
  for (const int32_t item : bundle.history(2))
    seen.insert(std::string(bundle.items()[item]));
  for (const Json& item : answer["items"])
    EXPECT_FALSE(seen.contains(item["item"])) << item;
  EXPECT_EQ(answer["items"].size(), 60 - seen.size());
  const Json brand =
      ask("/v1/recommend", {{"user", "user-2"}, {"k", 60}, {"filters", {{"brand", {"brand-2"}}}}});
  EXPECT_GT(brand["items"].size(), 0U);
  for (const Json& item : brand["items"]) {
    const auto row = *bundle.items().find(item["item"].get<std::string>());
    EXPECT_EQ(bundle.vocabulary(2)[bundle.values(2).ids_of(row)[0]], "brand-2");
  }
  const Json some = ask("/v1/recommend",
                        {{"allow", items(1, 9)}, {"deny", items(3, 4)}, {"exclude_seen", false}});
  EXPECT_EQ(some["items"].size(), 7U);
}

TEST_F(ServiceTest, DiversityMakesListsLessAlike) {
  start("{listen: {port: 0}}", {.items = 120, .clusters = 6});
  const auto alike = [&](double diversity) {
    const Json answer =
        ask("/v1/recommend", {{"user", "user-2"}, {"k", 8}, {"diversity", diversity}});
    EXPECT_EQ(answer["items"].size(), 8U);
    const auto catalogue = service_->deployment()->catalogue();
    const auto width = static_cast<size_t>(service_->deployment()->spec().retrieval_width);
    std::vector<const float*> vectors;
    for (const Json& item : answer["items"])
      vectors.push_back(catalogue->vector(0, *catalogue->find(item["item"].get<std::string>())));
    double sum = 0;
    for (size_t i = 0; i < vectors.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        for (size_t c = 0; c < width; ++c)
          sum += static_cast<double>(vectors[i][c]) * vectors[j][c];
    return sum;
  };
  EXPECT_LT(alike(0.9), alike(0) - 1);
  EXPECT_EQ(ask("/v1/recommend", {{"user", "user-2"}, {"diversity", 0.9}})["items"][0],
            ask("/v1/recommend", {{"user", "user-2"}})["items"][0]);
}

TEST_F(ServiceTest, ExplainsWithExamplesThatSumUpTheAttention) {
  start();
  const Json answer = ask("/v1/explain", {{"user", "user-3"}, {"item", "item-7"}});
  ASSERT_EQ(answer["examples"].size(), 8U);
  EXPECT_NE(answer["score"], answer["score_without_examples"]);
  double attention = 0, taken = 0;
  for (const Json& example : answer["examples"]) {
    attention += example["attention"].get<double>();
    taken += example["taken"].get<bool>() ? 1 : 0;
    EXPECT_THAT(example["reasoning"].get<std::string>(), HasSubstr("likes things"));
  }
  EXPECT_EQ(taken, 4);
  EXPECT_GT(attention, 0);
  EXPECT_LT(attention, 1);  // the query looks at itself, too
  EXPECT_GE(answer["examples"][0]["similarity"], answer["examples"][7]["similarity"]);
}

TEST_F(ServiceTest, AddedItemsAreUsableAtOnceAndAfterRestartsAndSwaps) {
  start();
  const auto score = [&] {
    return ask("/v1/rank",
               {{"user", "user-3"}, {"candidates", {"new-1"}}, {"time", 1'700'000'000}});
  };
  EXPECT_TRUE(score().contains("unknown_candidates"));
  const Json unknown = score()["items"];
  const Json stored = ask("/v1/items", {{"items",
                                         {{{"item", "new-1"},
                                           {"title", "brand-3 thing 9"},
                                           {"fields", {{"brand", {"brand-3", "brand-x"}}}}}}}});
  EXPECT_EQ(stored["ignored_values"][0], "new-1: brand: brand-x");
  const Json known = score();
  EXPECT_FALSE(known.contains("unknown_candidates"));
  EXPECT_NE(known["items"], unknown);
  open();
  EXPECT_EQ(score()["items"], known["items"]);
  service_->reload();
  EXPECT_EQ(score()["items"], known["items"]);
  const Json only = ask("/v1/recommend", {{"user", "user-3"}, {"allow", {"new-1"}}});
  EXPECT_EQ(only["items"][0]["item"], "new-1");
  EXPECT_EQ(ask("/v1/explain", {{"user", "user-3"}, {"item", "new-1"}})["known_item"], true);
}

TEST_F(ServiceTest, AnItemMayTakeTheNameOfTheBundles) {
  start();
  const Json before = ask("/v1/rank", {{"candidates", {"item-1"}}})["items"];
  ask("/v1/items", {{"items", {{{"item", "item-1"}, {"title", "something else"}}}}});
  EXPECT_NE(ask("/v1/rank", {{"candidates", {"item-1"}}})["items"], before);
  // Again and again: the catalogue does not grow.
  const int64_t rows = service_->deployment()->catalogue()->rows();
  for (int i = 0; i < 3; ++i)
    ask("/v1/items", {{"items", {{{"item", "item-1"}, {"title", "something else"}}}}});
  EXPECT_EQ(service_->deployment()->catalogue()->rows(), rows);
  EXPECT_EQ(ask("/v1/rank", {{"candidates", Json::array()}})["items"].size(), 0U);
  int count = 0;
  const Json all = ask("/v1/recommend", {{"k", 100}});
  for (const Json& item : all["items"])
    count += item["item"] == "item-1" ? 1 : 0;
  EXPECT_EQ(count, 1);
}

TEST_F(ServiceTest, SwapsWithoutAMixedOrFailedRequest) {
  start();
  const std::string first = service_->deployment()->bundle().version();
  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0, answered = 0, mixed = 0;
  std::set<std::string> versions;
  std::mutex guard;
  std::vector<std::jthread> threads;
  const std::string body = Json{{"requests",
                                 {{{"user", "user-1"}, {"candidates", items(1, 30)}},
                                  {{"user", "user-1"}, {"candidates", items(1, 30)}}}}}
                               .dump();
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      net::HttpClient client;
      while (!stop) {
        net::HttpRequest request{.method = "POST", .url = api_->url() + "/v1/rank"};
        request.body = body;
        const auto response = client.send(request);
        if (response.status != 200) {
          ++failed;
          continue;
        }
        ++answered;
        const Json answers = Json::parse(response.body)["responses"];
        if (answers[0]["bundle"] != answers[1]["bundle"]) ++mixed;
        const std::lock_guard lock(guard);
        versions.insert(answers[0]["bundle"]);
      }
    });
  for (uint64_t seed = 2; seed < 6; ++seed) {
    write_toy_bundle({.seed = seed}, file());
    service_->reload();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_GT(answered, 0);
  EXPECT_GT(versions.size(), 1U);
  EXPECT_NE(service_->deployment()->bundle().version(), first);
}

TEST_F(ServiceTest, ABadFileDoesNotComeIntoService) {
  start();
  const Json before = ask("/v1/rank", {{"candidates", items(1, 5)}, {"time", 1}});
  write_file(file(), "damaged");
  EXPECT_THROW(service_->reload(), InputError);
  EXPECT_EQ(ask("/v1/rank", {{"candidates", items(1, 5)}, {"time", 1}}), before);
}

TEST_F(ServiceTest, BundlesWithoutExamplesOrTextServe) {
  for (const char* context : {"none", "text"}) {
    start("{listen: {port: 0}}", {.context = context});
    EXPECT_EQ(ask("/v1/rank", {{"user", "user-1"}, {"candidates", items(1, 9)}})["items"].size(),
              9U);
    EXPECT_EQ(ask("/v1/recommend", {{"user", "user-1"}, {"k", 3}})["items"].size(), 3U);
    EXPECT_FALSE(ask("/v1/explain", {{"user", "user-1"}, {"item", "item-1"}}).contains("examples"));
    ask("/v1/items", {{"items", {{{"item", "new"}, {"title", "brand-1 thing"}}}}});
    EXPECT_FALSE(ask("/v1/rank", {{"candidates", {"new"}}}).contains("unknown_candidates"));
  }
}

TEST_F(ServiceTest, KeysAreAskedFor) {
  ::setenv("LLMCF_TEST_KEYS", "one, two", 1);
  ::setenv("LLMCF_TEST_ADMIN", "root", 1);
  start("{listen: {port: 0}, keys: {env: LLMCF_TEST_KEYS, admin_env: LLMCF_TEST_ADMIN}}");
  EXPECT_EQ(send("GET", "/v1/info").status, 401);
  EXPECT_EQ(send("GET", "/v1/info", "", {{"X-API-Key", "tw"}}).status, 401);
  EXPECT_EQ(send("GET", "/v1/info", "", {{"X-API-Key", "two"}}).status, 200);
  EXPECT_EQ(send("GET", "/v1/info", "", {{"Authorization", "Bearer one"}}).status, 200);
  EXPECT_EQ(send("POST", "/v1/reload", "", {{"X-API-Key", "one"}}).status, 401);
  EXPECT_EQ(send("POST", "/v1/reload", "", {{"X-API-Key", "root"}}).status, 200);
  EXPECT_EQ(send("GET", "/health").status, 200);
  EXPECT_THROW(ApiOptions::from(Config::parse("{keys: {env: LLMCF_NOT_SET}}")), InputError);
  EXPECT_THROW(ApiOptions::from(Config::parse("{listen: {prot: 1}}")), InputError);
}

TEST_F(ServiceTest, AGrpcPortIsAnErrorWhereTheBuildHasNone) {
  const auto options = [] { return ApiOptions::from(Config::parse("{listen: {grpc_port: 0}}")); };
  if (RpcServer::available()) {
    EXPECT_EQ(options().grpc_port, 0);
    start("{listen: {port: 0, grpc_port: 0}}");
    EXPECT_THAT(api_->rpc_target(), HasSubstr("127.0.0.1:"));
  } else {
    EXPECT_THROW(options(), InputError);
  }
  EXPECT_EQ(ApiOptions::from(Config::parse("{}")).grpc_port, std::nullopt);
}

TEST_F(ServiceTest, MetricsCountWhatHappened) {
  start();
  ask("/v1/rank", {{"user", "stranger"}, {"candidates", items(1, 7)}});
  refused("/v1/rank", "{}");
  const std::string text = send("GET", "/metrics").body;
  EXPECT_THAT(text, HasSubstr("llmcf_requests_total{endpoint=\"/v1/rank\",status=\"200\"} 1"));
  EXPECT_THAT(text, HasSubstr("llmcf_requests_total{endpoint=\"/v1/rank\",status=\"400\"} 1"));
  EXPECT_THAT(text, HasSubstr("llmcf_scored_candidates_total 7"));
  EXPECT_THAT(text, HasSubstr("llmcf_unknown_total{kind=\"user\"} 1"));
  EXPECT_THAT(text, HasSubstr("llmcf_stage_seconds_bucket{stage=\"retrieve\""));
}

TEST_F(ServiceTest, ABundleWithoutFittingExamplesSaysSo) {
  start("{listen: {port: 0}}", {.examples = 1});
  const Json answer = ask("/v1/rank", {{"candidates", items(1, 3)}});
  EXPECT_TRUE(answer["fallback"].is_null());  // one example is an example
  EXPECT_THAT(send("GET", "/metrics").body,
              Not(HasSubstr("llmcf_fallbacks_total{reason=\"no_examples\"")));
}

// Every path and every field of the document is what the service takes, and the reverse.
TEST_F(ServiceTest, TheOpenApiDocumentIsTrue) {
  start();
  const auto response = send("GET", "/v1/openapi.json");
  const Json document = Json::parse(response.body);
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items()) {
      std::string name = method;
      std::transform(name.begin(), name.end(), name.begin(), ::toupper);
      std::string url = path;
      if (const auto at = url.find("{user}"); at != std::string::npos) url.replace(at, 6, "nobody");
      const int status = send(name, url, name == "POST" ? "{}" : "").status;
      if (path == "/v1/reload" || path == "/v1/canary" || path == "/v1/shadow") {
        EXPECT_EQ(status, 404) << "there is no admin key";
        continue;
      }
      EXPECT_TRUE(operation["responses"].contains(std::to_string(status))) << path << " " << status;
      EXPECT_NE(status, 404) << path;
      EXPECT_NE(status, 405) << path;
    }
  const Json& schemas = document["components"]["schemas"];
  // A request with every documented field passes; one with another is refused.
  const std::map<std::string, std::pair<std::string, Json>> bodies = {
      {"RankRequest",
       {"/v1/rank",
        {{"user", "user-1"},
         {"history", items(1, 2)},
         {"context", Json::object()},
         {"time", 5},
         {"candidates", items(1, 3)},
         {"k", 2}}}},
      {"RecommendRequest",
       {"/v1/recommend",
        {{"user", "user-1"},
         {"history", items(1, 2)},
         {"context", Json::object()},
         {"time", 5},
         {"k", 2},
         {"first_stage", 20},
         {"diversity", 0.2},
         {"exclude_seen", true},
         {"allow", items(1, 30)},
         {"deny", items(1, 2)},
         {"filters", Json::object()}}}},
      {"ExplainBody",
       {"/v1/explain",
        {{"user", "user-1"},
         {"history", items(1, 2)},
         {"context", Json::object()},
         {"time", 5},
         {"item", "item-1"}}}},
      {"EventsBody", {"/v1/events", {{"events", Json::array()}}}},
      {"ItemsBody", {"/v1/items", {{"items", Json::array()}}}}};
  for (const auto& [schema, request] : bodies) {
    std::set<std::string> documented, sent;
    for (const auto& [field, unused] : schemas[schema]["properties"].items())
      documented.insert(field);
    for (const auto& [field, unused] : request.second.items())
      sent.insert(field);
    EXPECT_EQ(documented, sent) << schema;
    ask(request.first, request.second);
    Json wrong = request.second;
    wrong["undocumented"] = 1;
    EXPECT_EQ(refused(request.first, wrong.dump()), "undocumented");
  }
  // Answers have documented fields only, and all that are required.
  const auto check = [&](const char* schema, const Json& answer) {
    for (const auto& [field, unused] : answer.items())
      EXPECT_TRUE(schemas[schema]["properties"].contains(field)) << schema << " " << field;
    for (const Json& field : schemas[schema]["required"])
      EXPECT_TRUE(answer.contains(field.get<std::string>())) << schema << " " << field;
  };
  check("Ranked", ask("/v1/rank", {{"history", {"no"}}, {"candidates", {"item-1", "nope"}}}));
  check("Ranked", ask("/v1/recommend", Json::object()));
  check("Explanation", ask("/v1/explain", {{"item", "item-1"}}));
}

}  // namespace
}  // namespace llmcf::serve
