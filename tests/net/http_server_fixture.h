// A server on a free loopback port with a few routes, for tests.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "net/http_server.h"
#include "net/raw_socket.h"

namespace llmcf::net {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Waits at most ten seconds for something to become true.
template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

class HttpServerTest : public ::testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    server_ = std::make_unique<HttpServer>(std::move(options));
    server_->route("POST", "/echo", [](const ServerRequest& request, ServerResponse& response) {
      nlohmann::json query = nlohmann::json::array();
      for (const auto& [name, value] : request.query)
        query.push_back({name, value});
      response.body = nlohmann::json{{"method", request.method},
                                     {"path", request.path},
                                     {"query", query},
                                     {"body", request.body},
                                     {"remote", request.remote},
                                     {"id", request.id},
                                     {"x-test", request.header("x-test").value_or("none")}}
                          .dump();
    });
    server_->route("GET", "/text", [](const ServerRequest&, ServerResponse& response) {
      response.content_type = "text/plain";
      response.body = "hello";
    });
    server_->route("GET", "/items/{name}", [](const ServerRequest& request, ServerResponse& r) {
      r.body = "item " + request.segment;
    });
    server_->route("GET", "/items/all", [](const ServerRequest&, ServerResponse& response) {
      response.body = "all items";
    });
    // Holds its worker until the test lets go or the request is cancelled.
    server_->route("GET", "/hold", [this](const ServerRequest& request, ServerResponse& response) {
      ++held_;
      while (!let_go_ && !*request.cancelled)
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (*request.cancelled) ++cancelled_;
      --held_;
      response.body = "held";
    });
    more_routes();
    server_->start();
  }
  virtual void more_routes() {}
  void TearDown() override {
    let_go_ = true;
    server_.reset();  // before what its handlers use
  }

  HttpResponse get(const std::string& path) {
    return client_.send(
        {.url = server_->url() + path, .timeout = std::chrono::milliseconds(20'000)});
  }
  // The answer to bytes, behind which the server closes.
  std::string answer_to(std::string_view bytes) {
    testing::RawSocket socket(server_->port());
    socket.send(bytes);
    return socket.read_all();
  }

  std::atomic<int> held_ = 0, cancelled_ = 0;
  std::atomic<bool> let_go_ = false;
  HttpClient client_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace llmcf::net
