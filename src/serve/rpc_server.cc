#include "serve/rpc_server.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <mutex>

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/alarm.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "llmcf/v1/llmcf.grpc.pb.h"
#include "serve/access.h"
#include "serve/rpc_messages.h"

namespace llmcf::serve {

namespace {

using google::protobuf::Message;
using std::chrono::milliseconds;
using std::chrono::system_clock;
using CallContext = grpc::CallbackServerContext;

constexpr size_t kLongestText = 1000;  // bytes of an error: metadata has limits
constexpr int64_t kLeastMemory = int64_t{64} << 20;

grpc::StatusCode code_of(int status) {
  switch (status) {
    case 400:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case 401:
      return grpc::StatusCode::UNAUTHENTICATED;
    case 403:
      return grpc::StatusCode::PERMISSION_DENIED;
    case 404:
      return grpc::StatusCode::NOT_FOUND;
    case 413:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case 429:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case 499:
      return grpc::StatusCode::CANCELLED;
    case 503:
      return grpc::StatusCode::UNAVAILABLE;
    case 504:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    default:
      return grpc::StatusCode::INTERNAL;
  }
}

// Metadata values may hold nothing else.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
}

std::optional<std::string> metadata(const CallContext& context, const char* name) {
  const auto found = context.client_metadata().find(name);
  if (found == context.client_metadata().end()) return std::nullopt;
  return std::string(found->second.data(), found->second.size());
}

// The address in "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000".
std::string address_of(const std::string& peer) {
  const size_t first = peer.find(':'), last = peer.rfind(':');
  if (first == last) return peer;
  std::string address = peer.substr(first + 1, last - first - 1);
  if (address.starts_with("%5B") && address.ends_with("%5D"))
    address = address.substr(3, address.size() - 6);
  return address;
}

// What a handler does with a request to make an answer.
using Handler = std::function<void(const Json& request, const std::string& id, Message& answer)>;

// What all calls share; outlives them.
struct Calls {
  Service& service;
  net::HttpServer& http;
  const ApiOptions options;
  std::mutex guard = {};
  std::condition_variable changed = {};
  int64_t open = 0;     // calls that gRPC is not done with
  bool closed = false;  // more are refused

  // False: refuse it. Leave it either way.
  bool enter() {
    const std::lock_guard lock(guard);
    ++open;
    return !closed;
  }
  void leave() {
    const std::lock_guard lock(guard);
    --open;
    changed.notify_all();
  }
  void close(milliseconds patience) {
    std::unique_lock lock(guard);
    closed = true;
    changed.wait_for(lock, patience, [this] { return open == 0; });
  }
};

// One call. Its worker, its deadline and its client's leaving may come in any order, on any thread:
// the first to call finish() answers it. It owns itself until gRPC is done with it; the worker
// works on copies, since gRPC's messages end with the answer.
class Call final : public grpc::ServerUnaryReactor {
 public:
  static Call* begin(Calls& calls, CallContext& context, const char* method, const Message& request,
                     Message& answer, Handler handler) {
    auto call = std::make_shared<Call>(calls, context, method, answer);
    call->self_ = call;
    call->start(request, std::move(handler));
    return call.get();
  }

  Call(Calls& calls, CallContext& context, const char* method, Message& answer)
      : calls_(calls), context_(context), answer_(answer), made_(answer.New()) {
    answered_.id = calls_.http.request_id(metadata(context, "x-request-id").value_or(""));
    answered_.method = "gRPC";
    answered_.path = fmt::format("/{}/{}", v1::Recommender::service_full_name(), method);
    answered_.remote = address_of(context.peer());
    context_.AddInitialMetadata("x-request-id", answered_.id);
  }

 private:
  void start(const Message& request, Handler handler) {
    answered_.bytes = request.ByteSizeLong();
    if (!calls_.enter()) return refuse(503, "the service ends");
    const ApiOptions& options = calls_.options;
    const std::string key =
        key_in(metadata(context_, "authorization"), metadata(context_, "x-api-key"));
    if (!options.keys.empty() && !holds(options.keys, key) && !holds(options.admin_keys, key))
      return refuse(401, kNeedsKey);
    std::shared_ptr<Message> copy(request.New());
    copy->CopyFrom(request);
    watch_deadline();
    const bool taken = calls_.http.run(
        [self = self_, copy, handler = std::move(handler)] { self->work(*copy, handler); });
    if (!taken) refuse(503, "the server is busy; try again later");
  }

  void watch_deadline() {
    const milliseconds patience = calls_.options.server.request_timeout;
    const auto own = system_clock::now() + patience;
    alarm_.Set(std::min(own, context_.deadline()),
               [weak = std::weak_ptr<Call>(self_), patience](bool passed) {
                 const auto self = passed ? weak.lock() : nullptr;
                 if (self)
                   self->refuse(504, fmt::format("no answer within {} ms, or the call's deadline",
                                                 patience.count()));
               });
  }

  void work(const Message& request, const Handler& handler) {
    if (finished_) return;
    started_ = std::chrono::steady_clock::now();
    try {
      handler(json_of(request), answered_.id, *made_);
      finish(200, grpc::Status::OK);
    } catch (const net::HttpError& error) {
      refuse(error.status(), error.what(), error.field());
    } catch (const Error& error) {
      log::warn("{} ({}): {}", answered_.path, answered_.id, error.what());
      refuse(500, error.what());
    } catch (const std::exception& error) {
      log::error("{} ({}): {}", answered_.path, answered_.id, error.what());
      refuse(500, "an error within the server; its log tells more");
    }
  }

  void refuse(int status, const std::string& text, const std::string& field = "") {
    const std::string_view shown = std::string_view(text).substr(0, kLongestText);
    finish(status, {code_of(status), std::string(shown)}, field);
  }

  // The first one counts. gRPC may be done with its context and messages when this returns.
  void finish(int status, const grpc::Status& said, const std::string& field = "") {
    if (finished_.exchange(true)) return;
    if (said.ok()) made_->GetReflection()->Swap(made_.get(), &answer_);
    if (!field.empty() && field.size() <= kLongestText && is_printable(field))
      context_.AddTrailingMetadata("x-error-param", field);
    alarm_.Cancel();
    answered_.status = status;
    answered_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started_.load()).count();
    answered_.problem = said.error_message();
    account(answered_, calls_.service.metrics());
    Finish(said);
  }

  void OnCancel() override { refuse(499, "the client has gone, or its deadline has passed"); }
  void OnDone() override {
    calls_.leave();
    self_.reset();
  }

  Calls& calls_;
  CallContext& context_;
  Message& answer_;
  const std::unique_ptr<Message> made_;  // the worker's
  Answered answered_;  // what it holds before start() ends is constant, the rest is finish()'s
  std::atomic<std::chrono::steady_clock::time_point> started_ = std::chrono::steady_clock::now();
  std::atomic<bool> finished_ = false;
  grpc::Alarm alarm_;
  std::shared_ptr<Call> self_;
};

void put(const Ranked& answer, v1::Ranked& message) {
  message.set_bundle(answer.bundle);
  message.set_known_user(answer.known_user);
  message.set_history(static_cast<int64_t>(answer.history));
  if (answer.fallback) message.set_fallback(*answer.fallback);
  message.set_unknown_history(answer.unknown_history);
  message.set_release(answer.release);
  message.set_first_stage(answer.first_stage);
  for (const std::string& name : answer.unknown_candidates)
    message.add_unknown_candidates(name);
  for (const Ranked::Item& item : answer.items) {
    v1::RankedItem& added = *message.add_items();
    added.set_item(item.name);
    if (std::isfinite(item.score)) added.set_score(item.score);
  }
}

void put(const RankedAnswers& answers, Message& to) {
  auto& message = static_cast<v1::Ranked&>(to);
  if (!answers.batch) return put(answers.each.front(), message);
  for (const Ranked& answer : answers.each)
    put(answer, *message.add_responses());
}

std::shared_ptr<grpc::ServerCredentials> credentials_of(const net::ServerOptions& options) {
  if (options.certificate.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back({read_file(options.key), read_file(options.certificate)});
  return grpc::SslServerCredentials(tls);
}

void limit(grpc::ServerBuilder& builder, const net::ServerOptions& options) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_body_bytes));
  const auto set = [&](const char* argument, int64_t value) {
    builder.AddChannelArgument(
        argument, static_cast<int>(std::min<int64_t>(value, std::numeric_limits<int>::max())));
  };
  set(GRPC_ARG_MAX_METADATA_SIZE, options.max_header_bytes);
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.workers + options.queue + 1);
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, options.read_timeout.count());
  set(GRPC_ARG_MAX_CONNECTION_IDLE_MS, options.idle_timeout.count());
  set(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port that is taken is an error
  grpc::ResourceQuota quota("llmcf");
  quota.Resize(static_cast<size_t>(
      std::max(kLeastMemory,
               options.max_connections * (options.max_header_bytes + options.max_body_bytes))));
  builder.SetResourceQuota(quota);
}

void log_as_we_do(gpr_log_func_args* line) {
  if (line->severity == GPR_LOG_SEVERITY_ERROR) log::warn("gRPC: {}", line->message);
}

}  // namespace

struct RpcServer::Impl final : v1::Recommender::CallbackService {
  Impl(serve::Service& service, net::HttpServer& http, const ApiOptions& options)
      : calls{.service = service, .http = http, .options = options} {
    static std::once_flag once;
    std::call_once(once, [] {
      gpr_set_log_function(log_as_we_do);
      grpc::EnableDefaultHealthCheckService(true);
    });
    const std::string address = options.server.address.find(':') != std::string::npos
                                    ? "[" + options.server.address + "]"
                                    : options.server.address;
    grpc::ServerBuilder builder;
    limit(builder, options.server);
    int port = 0;
    builder.AddListeningPort(fmt::format("{}:{}", address, *options.grpc_port),
                             credentials_of(options.server), &port);
    builder.RegisterService(this);
    server = builder.BuildAndStart();
    if (server == nullptr || port == 0)
      throw Error(
          fmt::format("gRPC cannot listen on {}:{}; choose another listen.grpc_port, or 0 for a "
                      "free one",
                      address, *options.grpc_port));
    server->GetHealthCheckService()->SetServingStatus(v1::Recommender::service_full_name(), true);
    target = fmt::format("{}:{}", address, port);
  }

  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Rank(CallContext* context, const v1::RankRequest* request, v1::Ranked* answer) override {
    return begin(context, "Rank", request, answer,
                 [this](const Json& asked, const std::string& id, Message& made) {
                   put(calls.service.rank(asked, id), made);
                 });
  }
  Reactor* Recommend(CallContext* context, const v1::RecommendRequest* request,
                     v1::Ranked* answer) override {
    return begin(context, "Recommend", request, answer,
                 [this](const Json& asked, const std::string& id, Message& made) {
                   put(calls.service.recommend(asked, id), made);
                 });
  }
  Reactor* Explain(CallContext* context, const v1::ExplainRequest* request,
                   v1::Explanation* answer) override {
    return begin(context, "Explain", request, answer,
                 [this](const Json& asked, const std::string& id, Message& made) {
                   fill(calls.service.explain(asked, id), made);
                 });
  }
  Reactor* AppendEvents(CallContext* context, const v1::AppendEventsRequest* request,
                        v1::Stored* answer) override {
    return begin(context, "AppendEvents", request, answer,
                 [this](const Json& asked, const std::string&, Message& made) {
                   fill(calls.service.add_events(asked), made);
                 });
  }
  Reactor* UpsertItems(CallContext* context, const v1::UpsertItemsRequest* request,
                       v1::Stored* answer) override {
    return begin(context, "UpsertItems", request, answer,
                 [this](const Json& asked, const std::string&, Message& made) {
                   fill(calls.service.add_items(asked), made);
                 });
  }
  Reactor* DeleteUser(CallContext* context, const v1::DeleteUserRequest* request,
                      v1::Removed* answer) override {
    return begin(context, "DeleteUser", request, answer,
                 [this](const Json& asked, const std::string&, Message& made) {
                   fill(calls.service.forget(JsonReader(asked).required_text("user")), made);
                 });
  }
  Reactor* Info(CallContext* context, const v1::InfoRequest* request,
                v1::InfoResponse* answer) override {
    return begin(context, "Info", request, answer,
                 [this](const Json&, const std::string&, Message& made) {
                   fill(calls.service.info(), made);
                 });
  }

  Reactor* begin(CallContext* context, const char* method, const Message* request, Message* answer,
                 Handler handler) {
    return Call::begin(calls, *context, method, *request, *answer, std::move(handler));
  }

  Calls calls;
  std::unique_ptr<grpc::Server> server;
  std::string target;
  std::once_flag stopped;
};

bool RpcServer::available() {
  return true;
}

RpcServer::RpcServer(Service& service, net::HttpServer& http, const ApiOptions& options)
    : impl_(std::make_unique<Impl>(service, http, options)) {}

RpcServer::~RpcServer() {
  stop(milliseconds(0));
}

std::string RpcServer::target() const {
  return impl_->target;
}

void RpcServer::drain() {
  impl_->server->GetHealthCheckService()->SetServingStatus(false);
}

void RpcServer::stop(milliseconds patience) {
  std::call_once(impl_->stopped, [&] {
    drain();
    impl_->calls.close(patience);
    impl_->server->Shutdown(system_clock::now());  // ends what is left, and those who watch health
  });
}

}  // namespace llmcf::serve
