// Histories in Redis. Keys below the prefix: "user:<name>", a sorted set of "<sequence>:<item>" by
// time; "sequence", a counter that tells the order of arrival; "events", how many there are;
// "items", a hash of definitions; "item_order", a sorted set of their names.
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "serve/history_store.h"

namespace llmcf::serve {

namespace {

constexpr timeval kTimeout = {.tv_sec = 5, .tv_usec = 0};

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;
using Words = std::vector<std::string>;

std::string text_of(const redisReply& reply) {
  return reply.str == nullptr ? std::string() : std::string(reply.str, reply.len);
}

// Not thread-safe.
class Connection {
 public:
  explicit Connection(RedisOptions options) : options_(std::move(options)) { connect(); }

  // Sends the commands together and returns their replies. Throws Error if the server refuses one
  // or is lost: then it is not known whether they were carried out, and they are not repeated.
  std::vector<Reply> run(const std::vector<Words>& commands) {
    if (!context_ || context_->err != 0) connect();
    for (const Words& words : commands) {
      std::vector<const char*> parts;
      std::vector<size_t> lengths;
      for (const std::string& word : words) {
        parts.push_back(word.data());
        lengths.push_back(word.size());
      }
      redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), parts.data(),
                             lengths.data());
    }
    std::vector<Reply> replies;
    for (size_t i = 0; i < commands.size(); ++i) {
      void* reply = nullptr;
      if (redisGetReply(context_.get(), &reply) != REDIS_OK) {
        const std::string reason = context_->errstr;
        context_.reset();
        fail(reason);
      }
      replies.emplace_back(static_cast<redisReply*>(reply));
      if (replies.back()->type == REDIS_REPLY_ERROR) {
        const std::string reason = text_of(*replies.back());
        context_.reset();  // what is still to be read belongs to nobody
        fail(reason);
      }
    }
    return replies;
  }

  // Whether the server is still there; makes a new connection if it is not.
  void check() {
    try {
      run({{"PING"}});
    } catch (const Error&) {
      connect();
    }
  }

  std::string name() const {
    return options_.socket.empty() ? fmt::format("{}:{}", options_.host, options_.port)
                                   : options_.socket;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(fmt::format("redis at {}: {}", name(), reason));
  }

  void connect() {
    context_.reset(options_.socket.empty()
                       ? redisConnectWithTimeout(options_.host.c_str(), options_.port, kTimeout)
                       : redisConnectUnixWithTimeout(options_.socket.c_str(), kTimeout));
    if (!context_) throw std::bad_alloc();
    if (context_->err != 0) {
      const std::string reason = context_->errstr;
      context_.reset();
      fail(reason);
    }
    redisSetTimeout(context_.get(), kTimeout);
    if (!options_.password.empty()) run({{"AUTH", options_.password}});
  }

  RedisOptions options_;
  std::unique_ptr<redisContext, FreeContext> context_;
};

class RedisStore final : public HistoryStore {
 public:
  explicit RedisStore(const RedisOptions& options) : prefix_(options.prefix), connection_(options) {
    const std::string sync = setting("appendonly") == "yes" ? setting("appendfsync") : "none";
    if (sync != "always")
      log::warn(
          "redis at {} does not sync every write to disk (appendonly yes, appendfsync "
          "always): events it acknowledged may be lost",
          connection_.name());
  }

  void append(std::span<const StoredEvent> events) override {
    if (events.empty()) return;
    const std::lock_guard lock(guard_);
    connection_.check();
    const auto count = static_cast<long long>(events.size());
    const auto taken = connection_.run({{"INCRBY", prefix_ + "sequence", std::to_string(count)}});
    long long sequence = taken[0]->integer - count;
    std::vector<Words> commands = {{"MULTI"}};
    for (const StoredEvent& event : events)
      commands.push_back({"ZADD", prefix_ + "user:" + event.user, std::to_string(event.time),
                          fmt::format("{:016}:{}", ++sequence, event.item)});
    commands.push_back({"INCRBY", prefix_ + "events", std::to_string(count)});
    commands.push_back({"EXEC"});
    connection_.run(commands);
  }

  std::vector<StoredEvent> events(const std::string& user, int64_t after, int64_t limit) override {
    const std::lock_guard lock(guard_);
    connection_.check();
    const auto replies = connection_.run(
        {{"ZREVRANGEBYSCORE", prefix_ + "user:" + user, "+inf", fmt::format("({}", after),
          "WITHSCORES", "LIMIT", "0", std::to_string(limit)}});
    std::vector<StoredEvent> found;
    for (size_t i = replies[0]->elements; i >= 2; i -= 2) {
      const std::string member = text_of(*replies[0]->element[i - 2]);
      found.push_back({.user = user,
                       .item = member.substr(member.find(':') + 1),
                       .time = parse_int(text_of(*replies[0]->element[i - 1])).value_or(0)});
    }
    return found;
  }

  int64_t size() override {
    const std::lock_guard lock(guard_);
    connection_.check();
    const auto replies = connection_.run({{"GET", prefix_ + "events"}});
    return parse_int(text_of(*replies[0])).value_or(0);
  }

  int64_t erase(const std::string& user) override {
    const std::lock_guard lock(guard_);
    connection_.check();
    const std::string key = prefix_ + "user:" + user;
    const int64_t count = connection_.run({{"ZCARD", key}})[0]->integer;
    connection_.run(
        {{"MULTI"}, {"DEL", key}, {"DECRBY", prefix_ + "events", std::to_string(count)}, {"EXEC"}});
    return count;
  }

  void put_item(const StoredItem& item) override {
    const std::lock_guard lock(guard_);
    connection_.check();
    const auto sequence = connection_.run({{"INCR", prefix_ + "sequence"}})[0]->integer;
    connection_.run({{"MULTI"},
                     {"HSET", prefix_ + "items", item.name, item.json},
                     {"ZADD", prefix_ + "item_order", std::to_string(sequence), item.name},
                     {"EXEC"}});
  }

  std::vector<StoredItem> items() override {
    const std::lock_guard lock(guard_);
    connection_.check();
    const auto names = connection_.run({{"ZRANGE", prefix_ + "item_order", "0", "-1"}});
    std::vector<StoredItem> found;
    for (size_t i = 0; i < names[0]->elements; ++i) {
      const std::string name = text_of(*names[0]->element[i]);
      const auto json = connection_.run({{"HGET", prefix_ + "items", name}});
      found.push_back({.name = name, .json = text_of(*json[0])});
    }
    return found;
  }

  std::string kind() const override { return "redis"; }

 private:
  // Of the server; empty if it does not tell.
  std::string setting(const std::string& name) {
    try {
      const auto replies = connection_.run({{"CONFIG", "GET", name}});
      return replies[0]->elements == 2 ? text_of(*replies[0]->element[1]) : "";
    } catch (const Error&) {
      return "";
    }
  }

  std::string prefix_;
  std::mutex guard_;
  Connection connection_;
};

}  // namespace

std::unique_ptr<HistoryStore> open_redis_store(const RedisOptions& options) {
  return std::make_unique<RedisStore>(options);
}

}  // namespace llmcf::serve
