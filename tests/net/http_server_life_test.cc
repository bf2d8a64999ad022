// The server over time: streams and clients that leave them, TLS, stopping while it works.
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/files.h"
#include "net/http_server.h"
#include "net/http_server_fixture.h"
#include "net/raw_socket.h"
#include "net/sse.h"

namespace llmcf::net {
namespace {

using llmcf::testing::RawSocket;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class StreamTest : public HttpServerTest {
 protected:
  void more_routes() override {
    server_->route("GET", "/events", [](const ServerRequest&, ServerResponse& response) {
      for (int i = 0; i < 5; ++i)
        response.write_event("event " + std::to_string(i) + "\nsecond line");
      response.write_event("[DONE]");
    });
    // Writes until the client is gone.
    server_->route("GET", "/endless", [this](const ServerRequest&, ServerResponse& response) {
      const std::string piece(1000, 'x');
      response.begin_stream();
      while (response.write(piece))
        written_ += static_cast<int64_t>(piece.size());
      gone_ = true;
    });
    // Says something now and then, and notices in between.
    server_->route("GET", "/seldom", [this](const ServerRequest& request, ServerResponse& r) {
      r.write_event("hello");
      while (!*request.cancelled)
        std::this_thread::sleep_for(milliseconds(2));
      gone_ = !r.write_event("more");
    });
  }
  std::atomic<int64_t> written_ = 0;
  std::atomic<bool> gone_ = false;
};

TEST_F(StreamTest, EventsArrive) {
  start();
  for (int round = 0; round < 2; ++round) {  // the second on the same connection
    std::vector<std::string> events;
    SseParser parser([&](const SseEvent& event) { events.push_back(event.data); });
    const HttpResponse response =
        client_.stream({.url = server_->url() + "/events"}, [&](std::string_view piece) {
          parser.feed(piece);
          return true;
        });
    EXPECT_EQ(response.header("content-type"), "text/event-stream");
    EXPECT_TRUE(parser.done());
    ASSERT_EQ(events.size(), 5U);
    EXPECT_EQ(events[4], "event 4\nsecond line");
  }
  EXPECT_EQ(server_->statistics().connections, 1);
}

TEST_F(StreamTest, AnOldClientReadsAStreamToTheEnd) {
  start();
  const std::string answer = answer_to("GET /events HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("\r\n\r\ndata: event 0\n"), Not(HasSubstr("chunked"))));
  EXPECT_THAT(answer, ::testing::EndsWith("data: [DONE]\n\n"));
}

TEST_F(StreamTest, AClientThatLeavesIsNoticed) {
  start();
  int64_t received = 0;
  client_.stream({.url = server_->url() + "/endless"}, [&](std::string_view piece) {
    received += static_cast<int64_t>(piece.size());
    return received < 100'000;
  });
  EXPECT_TRUE(eventually([&] { return gone_.load(); }));
  gone_ = false;
  {
    RawSocket socket(server_->port());
    socket.send("GET /seldom HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(socket.read_until("hello\n\n"), HasSubstr("hello"));
  }
  EXPECT_TRUE(eventually([&] { return gone_.load(); }));
  EXPECT_EQ(get("/text").status, 200);
}

TEST_F(StreamTest, AClientThatDoesNotReadHoldsTheHandlerBack) {
  start({.write_timeout = milliseconds(500)});
  RawSocket socket(server_->port(), 4096);
  socket.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return written_ > 0; }));
  EXPECT_TRUE(eventually([&] { return gone_.load(); }));  // too slow for too long
  EXPECT_LT(written_, 16 << 20);  // the kernel's buffers and 128 KiB of ours
}

class LateStreamTest : public HttpServerTest {
 protected:
  void more_routes() override {
    const auto ticks = [](const ServerRequest&, ServerResponse& response) {
      for (int i = 0; i < 40; ++i) {
        if (!response.write_event("tick")) return;
        std::this_thread::sleep_for(milliseconds(10));
      }
    };
    server_->route("GET", "/ticks", ticks);
    server_->route("GET", "/patient", ticks, {.timeout = milliseconds(0)});
  }
};

TEST_F(LateStreamTest, ADeadlineCutsAStreamUnlessTheRouteHasItsOwn) {
  start({.request_timeout = milliseconds(100)});
  EXPECT_THROW(client_.stream({.url = server_->url() + "/ticks"}, [](auto) { return true; }),
               TransportError);
  EXPECT_EQ(get("/patient").status, 200);
}

// A self-signed certificate for 127.0.0.1 made by the openssl command; empty without it.
std::filesystem::path make_certificate(const std::filesystem::path& directory) {
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
      "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout '" +
      (directory / "key.pem").string() + "' -out '" + (directory / "cert.pem").string() +
      "' 2>/dev/null";
  return std::system(command.c_str()) == 0 ? directory / "cert.pem" : std::filesystem::path();
}

TEST_F(StreamTest, ServesOverTls) {
  TemporaryDirectory directory;
  const auto certificate = make_certificate(directory.path());
  if (certificate.empty()) GTEST_SKIP() << "not found: openssl";
  start({.read_timeout = milliseconds(500),
         .certificate = certificate,
         .key = directory.path() / "key.pem"});
  EXPECT_THAT(server_->url(), StartsWith("https://127.0.0.1:"));
  HttpClient trusting({.ca_file = certificate.string()});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(trusting.send({.url = server_->url() + "/text"}).body, "hello");
  HttpRequest large{.method = "POST", .url = server_->url() + "/echo"};
  large.body = std::string(300'000, 'x');
  EXPECT_EQ(trusting.send(large).status, 200);
  int64_t received = 0;
  trusting.stream({.url = server_->url() + "/endless"}, [&](std::string_view piece) {
    received += static_cast<int64_t>(piece.size());
    return received < 100'000;
  });
  EXPECT_TRUE(eventually([&] { return gone_.load(); }));
  EXPECT_THROW(client_.send({.url = server_->url() + "/text"}), TransportError);  // not trusted
  EXPECT_EQ(answer_to("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").find("HTTP/1.1 200"),
            std::string::npos);
  RawSocket silent(server_->port());  // a handshake that never comes
  EXPECT_TRUE(silent.ended());
  EXPECT_EQ(trusting.send({.url = server_->url() + "/text"}).status, 200);
}

TEST_F(HttpServerTest, StoppingFinishesWhatRuns) {
  start({.workers = 8, .queue = 100});
  std::vector<std::future<int>> answers;
  for (int i = 0; i < 8; ++i)
    answers.push_back(std::async(std::launch::async, [&] { return get("/hold").status; }));
  ASSERT_TRUE(eventually([&] { return held_ == 8; }));
  RawSocket idle(server_->port());
  std::thread stopping([&] { server_->stop(milliseconds(20'000)); });
  EXPECT_TRUE(idle.ended());  // at once, before the others are answered
  EXPECT_EQ(held_, 8);
  let_go_ = true;
  for (auto& answer : answers)
    EXPECT_EQ(answer.get(), 200);
  stopping.join();
  EXPECT_EQ(cancelled_, 0);
  EXPECT_THROW(get("/text"), TransportError);
}

TEST_F(HttpServerTest, StoppingUnderLoadHalvesNoAnswer) {
  start({.io_threads = 2, .workers = 4, .queue = 100});
  std::atomic<bool> enough = false;
  std::atomic<int> answered = 0, refused = 0, broken = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i)
    clients.emplace_back([&] {
      while (!enough) {
        try {
          if (get("/text").body == "hello") ++answered;
        } catch (const TransportError& error) {
          // Refused, or closed while idle: no byte of an answer was there.
          const bool before = error.kind() == TransportError::Kind::kConnect ||
                              error.kind() == TransportError::Kind::kDropped;
          before ? ++refused : ++broken;
        }
      }
    });
  EXPECT_TRUE(eventually([&] { return answered > 200; }));
  server_->stop(milliseconds(10'000));
  const ServerStatistics after = server_->statistics();
  EXPECT_EQ(after.connections, 0);
  EXPECT_TRUE(eventually([&] { return refused > 0; }));
  enough = true;
  for (auto& client : clients)
    client.join();
  EXPECT_EQ(broken, 0);
  EXPECT_EQ(after.overloaded, 0);
}

TEST_F(HttpServerTest, StoppingByForceTellsHandlers) {
  start();
  auto answer = std::async(std::launch::async, [&] {
    try {
      return get("/hold").status;
    } catch (const TransportError&) {
      return -1;
    }
  });
  ASSERT_TRUE(eventually([&] { return held_ == 1; }));
  const auto began = Clock::now();
  server_->stop(milliseconds(50));
  EXPECT_LT(seconds_since(began), 3);
  EXPECT_EQ(cancelled_, 1);
  EXPECT_EQ(answer.get(), -1);
}

TEST_F(HttpServerTest, ManyConnectionsAtOnce) {
  start({.io_threads = 2, .workers = 4, .queue = 1000});
  std::vector<std::unique_ptr<RawSocket>> sockets;
  for (int i = 0; i < 100; ++i)
    sockets.push_back(std::make_unique<RawSocket>(server_->port()));
  for (int round = 0; round < 5; ++round) {
    for (size_t i = 0; i < sockets.size(); ++i)
      sockets[i]->send("GET /items/" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n");
    for (size_t i = 0; i < sockets.size(); ++i)
      ASSERT_THAT(sockets[i]->read_answer(), ::testing::EndsWith("item " + std::to_string(i)));
  }
}

}  // namespace
}  // namespace llmcf::net
