// The server against libcurl and against raw sockets that break every rule: routes, limits,
// timeouts, errors of handlers, deadlines, overload.
#include "net/http_server.h"

#include <future>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "net/http_server_fixture.h"
#include "net/raw_socket.h"

namespace llmcf::net {
namespace {

using Json = nlohmann::json;
using llmcf::testing::RawSocket;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(HttpServerTest, ARequestArrivesWhole) {
  start();
  HttpRequest request{.method = "POST", .url = server_->url() + "/echo?a=1&b=x%20y+z&a=2&empty"};
  request.headers = {{"X-Test", "yes"}, {"X-Request-Id", "my-id"}};
  request.body = std::string("bytes \x01 and \xC3\xA9");
  const HttpResponse response = client_.send(request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_EQ(response.header("x-request-id"), "my-id");
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["method"], "POST");
  EXPECT_EQ(body["path"], "/echo");
  EXPECT_EQ(body["query"], Json::parse(R"([["a","1"],["b","x y z"],["a","2"],["empty",""]])"));
  EXPECT_EQ(body["body"], request.body);
  EXPECT_EQ(body["remote"], "127.0.0.1");
  EXPECT_EQ(body["x-test"], "yes");
}

TEST_F(HttpServerTest, RequestIdsOfItsOwnAreDistinct) {
  start();
  const auto a = get("/text").header("x-request-id"), b = get("/text").header("x-request-id");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->size(), 16U);
  EXPECT_NE(*a, *b);
}

TEST_F(HttpServerTest, RoutesByMethodAndPath) {
  start();
  EXPECT_EQ(get("/text").body, "hello");
  EXPECT_EQ(get("/items/7").body, "item 7");
  EXPECT_EQ(get("/items/a%2Fb%20c").body, "item a/b c");
  EXPECT_EQ(get("/items/all").body, "all items");
  EXPECT_EQ(get("/items/").status, 404);
  EXPECT_EQ(get("/items/a/b").status, 404);
  const HttpResponse missing = get("/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_THAT(Json::parse(missing.body)["error"]["message"], HasSubstr("/nothing"));
  const HttpResponse wrong = get("/echo");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.header("allow"), "POST");
  EXPECT_EQ(client_.send({.method = "DELETE", .url = server_->url() + "/text"}).header("allow"),
            "GET, HEAD");
  const HttpResponse head = client_.send({.method = "HEAD", .url = server_->url() + "/text"});
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-length"), "5");
  EXPECT_EQ(head.body, "");
}

TEST_F(HttpServerTest, BadRoutesAreErrors) {
  HttpServer server;
  const auto nothing = [](const ServerRequest&, ServerResponse&) {};
  server.route("GET", "/a/{b}", nothing);
  EXPECT_THROW(server.route("GET", "/a/{b}", nothing), Error);
  EXPECT_THROW(server.route("GET", "a", nothing), Error);
  EXPECT_THROW(server.route("GET", "/{a}/{b}", nothing), Error);
  EXPECT_THROW(server.route("GET", "/x{a}", nothing), Error);
}

TEST_F(HttpServerTest, AConnectionServesRequestsInOrder) {
  start();
  RawSocket socket(server_->port());
  for (int i = 0; i < 3; ++i) {
    socket.send("GET /items/" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(socket.read_answer(), HasSubstr("item " + std::to_string(i)));
  }
  // Pipelined, the last one in two pieces.
  socket.send(
      "GET /items/3 HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /te");
  EXPECT_THAT(socket.read_answer(), HasSubstr("item 3"));
  EXPECT_THAT(socket.read_answer(), StartsWith("HTTP/1.1 404"));
  socket.send("xt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(socket.read_all(), AllOf(HasSubstr("hello"), HasSubstr("Connection: close\r\n")));
  EXPECT_EQ(server_->statistics().requests, 6);
}

TEST_F(HttpServerTest, MalformedRequestsAreAnswered400) {
  start();
  for (const char* bytes : {
           "nonsense\r\n\r\n",
           "GET /text HTTP/1.1\r\n\r\n",                        // no Host
           "GET /text HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",  // two
           "GET /text HTTP/9.9\r\nHost: a\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
           "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
           "chunked\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
           "GET /text HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
           "GET text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",  // no path
           "GET /a%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
           "GET /a%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
       })
    EXPECT_THAT(answer_to(bytes), StartsWith("HTTP/1.1 400 Bad Request")) << bytes;
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(HttpServerTest, OversizedRequestsAreRefused) {
  start({.max_header_bytes = 1024, .max_body_bytes = 2000});
  const std::string long_header(5000, 'x');
  EXPECT_THAT(answer_to("GET /text HTTP/1.1\r\nHost: a\r\nX: " + long_header + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer_to("GET /" + long_header + " HTTP/1.1\r\nHost: a\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer_to("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2001\r\n\r\n" +
                        std::string(2001, 'x')),
              StartsWith("HTTP/1.1 413"));
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 300; ++i)
    chunks += "10\r\n0123456789abcdef\r\n";
  EXPECT_THAT(answer_to(chunks + "0\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  // libcurl asks first, with 100-continue.
  HttpRequest large{.method = "POST", .url = server_->url() + "/echo"};
  large.body = std::string(2'000'000, 'x');
  EXPECT_EQ(client_.send(large).status, 413);
  large.body = std::string(2000, 'x');
  EXPECT_EQ(client_.send(large).status, 200);
}

TEST_F(HttpServerTest, LargeBodiesAreContinued) {
  start();
  HttpRequest large{.method = "POST", .url = server_->url() + "/echo"};
  large.body = std::string(3'000'000, 'x');
  const HttpResponse response = client_.send(large);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Json::parse(response.body)["body"].get<std::string>().size(), large.body.size());
}

TEST_F(HttpServerTest, SlowClientsLoseTheirConnection) {
  start({.read_timeout = milliseconds(300), .idle_timeout = milliseconds(300)});
  const auto began = Clock::now();
  RawSocket silent(server_->port());
  RawSocket dripping(server_->port());
  std::thread drip([&] {
    for (const char letter : std::string_view("GET /text HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaa")) {
      if (!dripping.send({&letter, 1})) return;
      std::this_thread::sleep_for(milliseconds(20));
    }
  });
  EXPECT_THAT(dripping.read_all(), StartsWith("HTTP/1.1 408"));
  EXPECT_TRUE(silent.ended());
  EXPECT_LT(seconds_since(began), 3);
  drip.join();
  RawSocket idle(server_->port());
  idle.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(idle.read_answer(), HasSubstr("hello"));
  EXPECT_TRUE(idle.ended());
  EXPECT_TRUE(eventually([&] { return server_->statistics().connections == 0; }));
}

TEST_F(HttpServerTest, AHalfClosedClientStillGetsItsAnswer) {
  start();
  RawSocket socket(server_->port());
  socket.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n");
  socket.close_sending_side();
  EXPECT_THAT(socket.read_all(), HasSubstr("hello"));
}

class FailingHandlersTest : public HttpServerTest {
 protected:
  void more_routes() override {
    server_->route("GET", "/fail/{how}", [](const ServerRequest& request, ServerResponse& r) {
      if (request.segment == "http") throw HttpError(422, "too odd", "size", {{"X-Why", "odd"}});
      if (request.segment == "error") throw Error("the file is gone");
      if (request.segment == "std") throw std::out_of_range("secret detail");
      if (request.segment == "int") throw 7;
      if (request.segment == "header") r.headers = {{"X-Bad", "a\r\nX-More: b"}};
      if (request.segment == "late") {
        r.write_event("begun");
        throw Error("in the middle");
      }
    });
  }
};

TEST_F(FailingHandlersTest, ErrorsBecomeBodies) {
  start();
  const HttpResponse http = get("/fail/http");
  EXPECT_EQ(http.status, 422);
  EXPECT_EQ(http.header("x-why"), "odd");
  EXPECT_EQ(Json::parse(http.body)["error"], (Json{{"message", "too odd"},
                                                   {"type", "invalid_request_error"},
                                                   {"param", "size"},
                                                   {"code", nullptr}}));
  const HttpResponse error = get("/fail/error");
  EXPECT_EQ(error.status, 500);
  EXPECT_EQ(Json::parse(error.body)["error"]["message"], "the file is gone");
  for (const char* path : {"/fail/std", "/fail/int"}) {
    const HttpResponse other = get(path);
    EXPECT_EQ(other.status, 500);
    EXPECT_THAT(other.body, Not(HasSubstr("secret")));
  }
  const HttpResponse injected = get("/fail/header");
  EXPECT_EQ(injected.status, 500);
  EXPECT_FALSE(injected.header("x-more"));
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(FailingHandlersTest, AStreamThatFailsIsNotCompleted) {
  start();
  EXPECT_THROW(client_.stream({.url = server_->url() + "/fail/late"}, [](auto) { return true; }),
               TransportError);
  EXPECT_THAT(answer_to("GET /fail/late HTTP/1.1\r\nHost: a\r\n\r\n"),
              AllOf(HasSubstr("data: begun"), Not(HasSubstr("\r\n0\r\n"))));
}

TEST_F(HttpServerTest, ADeadlineIsAnsweredForAndTold) {
  start({.workers = 1, .request_timeout = milliseconds(200)});
  const auto began = Clock::now();
  EXPECT_EQ(get("/hold").status, 504);
  EXPECT_LT(seconds_since(began), 3);
  EXPECT_TRUE(eventually([&] { return cancelled_ == 1; }));
  EXPECT_EQ(get("/text").status, 200);  // the one worker is free again
  EXPECT_EQ(server_->statistics().late, 1);
}

TEST_F(HttpServerTest, OverloadIsAnsweredAtOnce) {
  start({.workers = 1, .queue = 1, .retry_after = std::chrono::seconds(7)});
  auto first = std::async(std::launch::async, [&] { return get("/hold").status; });
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  auto second = std::async(std::launch::async, [&] { return get("/hold").status; });
  ASSERT_TRUE(eventually([&] { return server_->statistics().waiting == 1; }));
  const auto began = Clock::now();
  for (int i = 0; i < 100; ++i) {
    const HttpResponse response = get("/text");
    ASSERT_EQ(response.status, 503);
    ASSERT_EQ(response.header("retry-after"), "7");
  }
  EXPECT_LT(seconds_since(began), 5);
  EXPECT_EQ(server_->statistics().overloaded, 100);
  let_go_ = true;
  EXPECT_EQ(first.get(), 200);
  EXPECT_EQ(second.get(), 200);
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(HttpServerTest, ARequestWhoseClientLeftTheQueueEndsEarly) {
  start({.workers = 1});
  {
    RawSocket socket(server_->port());
    socket.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return cancelled_ == 1; }));
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(HttpServerTest, ConnectionsAreLimited) {
  start({.max_connections = 2});
  RawSocket a(server_->port()), b(server_->port());
  ASSERT_TRUE(eventually([&] { return server_->statistics().connections == 2; }));
  EXPECT_THAT(answer_to(""), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: 1\r\n")));
  a.close();
  ASSERT_TRUE(eventually([&] { return server_->statistics().connections == 1; }));
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(HttpServerTest, WhatWasServedIsReported) {
  std::mutex guard;
  std::vector<ServedRequest> served;
  start({.on_served = [&](const ServedRequest& one) {
    const std::lock_guard lock(guard);
    served.push_back(one);
  }});
  get("/items/1");
  get("/nothing");
  server_->stop(milliseconds(1000));
  ASSERT_EQ(served.size(), 2U);
  EXPECT_EQ(served[0].pattern, "/items/{name}");
  EXPECT_EQ(served[0].status, 200);
  EXPECT_TRUE(served[0].complete);
  EXPECT_EQ(served[1].pattern, "");
  EXPECT_EQ(served[1].status, 404);
}

TEST_F(HttpServerTest, WrongOptionsAreErrors) {
  const auto fails = [](const ServerOptions& options, const std::string& part) {
    try {
      HttpServer server(options);
      server.start();
      ADD_FAILURE() << "no error with " << part;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  fails({.workers = 0}, "workers");
  fails({.read_timeout = milliseconds(0)}, "read_timeout");
  fails({.address = "nowhere"}, "'nowhere'");
  fails({.certificate = "/nothing.pem"}, "key");
  fails({.certificate = "/nothing.pem", .key = "/nothing.pem"}, "/nothing.pem");
  start();
  fails({.port = server_->port()}, std::to_string(server_->port()));
}

}  // namespace
}  // namespace llmcf::net
