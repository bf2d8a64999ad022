// rpc_server.h in a build without libgrpc++.
#include "core/error.h"
#include "serve/rpc_server.h"

namespace llmcf::serve {

struct RpcServer::Impl {};

bool RpcServer::available() {
  return false;
}

RpcServer::RpcServer(Service&, net::HttpServer&, const ApiOptions&) {
  throw Error("this program was built without gRPC: see docs/serving.md");
}

RpcServer::~RpcServer() = default;

std::string RpcServer::target() const {
  return {};
}

void RpcServer::drain() {}

void RpcServer::stop(std::chrono::milliseconds) {}

}  // namespace llmcf::serve
