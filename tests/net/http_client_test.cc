// The client against a real server: answers, failures of the transport, streams, tokens, addresses.
#include "net/http_client.h"

#include <cstdlib>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/sse.h"
#include "scripted_server.h"

namespace llmcf::net {
namespace {

using Json = nlohmann::json;
using Kind = TransportError::Kind;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

class HttpClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PYTHON();
    server_ = std::make_unique<llmcf::testing::ScriptedServer>();
  }
  HttpRequest chat(const std::string& prompt, bool stream = false) const {
    HttpRequest request;
    request.method = "POST";
    request.url = server_->url() + "/v1/chat/completions";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = Json{{"model", "m"},
                        {"stream", stream},
                        {"stream_options", {{"include_usage", true}}},
                        {"messages", {{{"role", "user"}, {"content", prompt}}}}}
                       .dump();
    return request;
  }
  void rule(const Json& rule) { server_->script(Json{{"rules", {rule}}}); }
  // The kind of error that sending gives.
  std::optional<Kind> failure(const HttpRequest& request) {
    try {
      client_.send(request);
    } catch (const TransportError& error) {
      return error.kind();
    }
    return std::nullopt;
  }

  std::unique_ptr<llmcf::testing::ScriptedServer> server_;
  HttpClient client_;
};

TEST_F(HttpClientTest, SendsAndReceives) {
  const HttpResponse response = client_.send(chat("hello there"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("content-type"), "application/json");
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["choices"][0]["message"]["content"], "Answer 1 to: hello there");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(server_->asked("hello"), 1);
  EXPECT_EQ(server_->answered("hello"), 1);
}

TEST_F(HttpClientTest, StatusesAreAnswersNotErrors) {
  rule({{"action", "status"}, {"status", 429}, {"headers", {{"Retry-After", "2"}}}});
  const HttpResponse response = client_.send(chat("x"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.header("retry-after"), "2");
  EXPECT_FALSE(response.ok());
  EXPECT_EQ(server_->answered("x"), 0);
}

TEST_F(HttpClientTest, ConnectionsAreReused) {
  for (int i = 0; i < 5; ++i)
    client_.send(chat("again"));
  std::set<int> connections;
  for (const Json& entry : server_->requests())
    connections.insert(entry["connection"].get<int>());
  EXPECT_EQ(connections.size(), 1U);
}

TEST_F(HttpClientTest, ServesManyThreadsAtOnce) {
  rule({{"delay_ms", 100}});
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        const std::string prompt = "thread " + std::to_string(i);
        for (int round = 0; round < 3; ++round) {
          const Json body = Json::parse(client_.send(chat(prompt)).body);
          good += body["choices"][0]["message"]["content"].get<std::string>().ends_with(prompt);
        }
      });
    }
  }
  EXPECT_EQ(good, 24);
}

TEST_F(HttpClientTest, TransportFailuresHaveTheirKind) {
  HttpRequest request = chat("x");
  request.timeout = milliseconds(150);
  rule({{"action", "hang"}, {"hang_ms", 2000}});
  EXPECT_EQ(failure(request), Kind::kTimeout);
  rule({{"action", "drop"}});
  EXPECT_EQ(failure(chat("x")), Kind::kDropped);
  rule({{"action", "truncate"}});
  EXPECT_EQ(failure(chat("x")), Kind::kDropped);
  request.url = "http://127.0.0.1:1/";
  EXPECT_EQ(failure(request), Kind::kConnect);
  request.url = "file:///etc/passwd";
  EXPECT_EQ(failure(request), Kind::kRefused);
}

TEST_F(HttpClientTest, LargeAnswersAreRefused) {
  HttpClient small({.max_body_bytes = 20});
  try {
    small.send(chat("x"));
    FAIL();
  } catch (const TransportError& error) {
    EXPECT_EQ(error.kind(), Kind::kTooLarge);
  }
}

TEST_F(HttpClientTest, CancellingEndsAnExchange) {
  rule({{"action", "hang"}, {"hang_ms", 5000}});
  std::atomic<bool> cancelled{false};
  HttpRequest request = chat("x");
  request.cancelled = &cancelled;
  std::jthread later([&] {
    std::this_thread::sleep_for(milliseconds(100));
    cancelled = true;
  });
  EXPECT_EQ(failure(request), Kind::kCancelled);
}

TEST_F(HttpClientTest, StreamsEventsAsTheyAre) {
  server_->script(R"({"chat": {"text": "naïve café {prompt}", "piece_bytes": 7}})");
  std::string text;
  Json usage;
  SseParser parser([&](const SseEvent& event) {
    const Json chunk = Json::parse(event.data);
    if (chunk.contains("usage")) usage = chunk["usage"];
    if (!chunk["choices"].empty())
      text += chunk["choices"][0]["delta"].value("content", std::string());
  });
  const HttpResponse response = client_.stream(chat("now", true), [&](std::string_view piece) {
    parser.feed(piece);
    return true;
  });
  parser.finish();
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body.empty());
  EXPECT_EQ(text, "naïve café now");
  EXPECT_EQ(usage["completion_tokens"], 3);
  EXPECT_TRUE(parser.done());
}

TEST_F(HttpClientTest, ATruncatedStreamIsAnError) {
  rule({{"action", "truncate"}});
  try {
    client_.stream(chat("x", true), [](std::string_view) { return true; });
    FAIL();
  } catch (const TransportError& error) {
    EXPECT_EQ(error.kind(), Kind::kDropped);
  }
}

TEST_F(HttpClientTest, TheCallbackDecidesOnTheStream) {
  server_->script(R"({"chat": {"piece_bytes": 10, "piece_delay_ms": 5}})");
  int pieces = 0;
  EXPECT_EQ(client_.stream(chat("x", true), [&](std::string_view) { return ++pieces < 3; }).status,
            200);
  EXPECT_EQ(pieces, 3);
  EXPECT_THROW(
      client_.stream(chat("x", true), [](std::string_view) -> bool { throw Error("enough"); }),
      Error);
  rule({{"action", "status"}, {"status", 500}, {"body", "oops"}});
  bool called = false;
  const HttpResponse response =
      client_.stream(chat("x", true), [&](std::string_view) { return called = true; });
  EXPECT_FALSE(called);
  EXPECT_EQ(response.body, "oops");
}

TEST_F(HttpClientTest, TheTokenComesFromTheEnvironmentAndIsNotShown) {
  HttpRequest request = chat("x");
  request.token_env = "LLMCF_TEST_TOKEN";
  unsetenv("LLMCF_TEST_TOKEN");
  try {
    client_.send(request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("LLMCF_TEST_TOKEN"));
  }
  setenv("LLMCF_TEST_TOKEN", "s3cret", 1);
  client_.send(request);
  EXPECT_EQ(server_->requests().back()["authorization"], "Bearer s3cret");
  request.url = "http://user:pass@127.0.0.1:1/v1?key=s3cret";
  try {
    client_.send(request);
    FAIL();
  } catch (const TransportError& error) {
    EXPECT_THAT(error.what(), HasSubstr("http://127.0.0.1:1/v1:"));
    EXPECT_THAT(error.what(), Not(HasSubstr("s3cret")));
    EXPECT_THAT(error.what(), Not(HasSubstr("pass")));
  }
  setenv("LLMCF_TEST_TOKEN", "two\nlines", 1);
  EXPECT_THROW(client_.send(request), Error);
  unsetenv("LLMCF_TEST_TOKEN");
}

TEST_F(HttpClientTest, RedirectsAreNotFollowed) {
  rule({{"action", "status"},
        {"status", 307},
        {"headers", {{"Location", server_->url() + "/elsewhere"}}}});
  EXPECT_EQ(client_.send(chat("x")).status, 307);
  EXPECT_EQ(server_->requests().size(), 1U);
}

TEST(Url, LoopbackIsRecognisedAndNotFeigned) {
  for (const char* url : {"http://localhost", "https://LOCALHOST:8080/v1", "http://127.0.0.1:1",
                          "http://127.9.9.9/", "http://[::1]:80/", "http://2130706433/"})
    EXPECT_TRUE(is_loopback(url)) << url;
  for (const char* url : {"http://example.org", "http://127.0.0.1@example.org/", "http://10.0.0.1",
                          "http://localhost.example.org", "http://127.0.0.1.example.org",
                          "http://[::2]/", "ftp://localhost/", "localhost", "", "http://"})
    EXPECT_FALSE(is_loopback(url)) << url;
}

TEST(Url, JoinsWithOneSlash) {
  EXPECT_EQ(join_url("http://h/v1/", "/x"), "http://h/v1/x");
  EXPECT_EQ(join_url("http://h", "x"), "http://h/x");
}

}  // namespace
}  // namespace llmcf::net
