// The service over gRPC: proto/llmcf/v1/llmcf.proto, and the standard health service.
//
// Invariants:
//  1. Requests are those of HTTP: the same checks, limits, keys and TLS, the same workers and
//  queue,
//     the same metrics and log (under the method's full name, with HTTP's statuses).
//  2. Every call is answered once, and every wait ends: for a worker, for the handler, for a client
//     that has gone. Message and metadata sizes, calls of a connection and memory are limited.
//  3. Health says SERVING until drain() or stop().
//
// A build without libgrpc++ has rpc_server_none.cc instead, which makes none.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "serve/api.h"

namespace llmcf::serve {

class RpcServer {
 public:
  // Whether this build has it.
  static bool available();

  // Listens at options.server.address and *options.grpc_port, and serves from now on, on the
  // workers of `http`. Both must outlive this. REQUIRES: options.grpc_port. Throws Error naming the
  // address if it cannot be had.
  RpcServer(Service& service, net::HttpServer& http, const ApiOptions& options);
  // stop(0).
  ~RpcServer();

  // "127.0.0.1:9090"
  std::string target() const;
  // Health says NOT_SERVING from now on.
  void drain();
  // Takes no more calls, waits at most `patience` for those that run, and ends the rest. Again:
  // nothing.
  void stop(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::serve
