// The stores that are servers, each against the real one, started here: the same promises as the
// embedded store's, and a server that is killed and comes back.
#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "serve/history_store.h"

namespace llmcf::serve {
namespace {

using ::testing::ElementsAre;

constexpr uid_t kNobody = 65534;  // PostgreSQL does not run as root

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

// A process of the test, in a directory, ended with it.
class Process {
 public:
  Process(const std::vector<std::string>& command, const std::filesystem::path& directory,
          bool drop_root) {
    process_ = ::fork();
    if (process_ != 0) return;
    if (drop_root && ::geteuid() == 0 && ::setuid(kNobody) != 0) ::_exit(126);
    const std::string log = (directory / "log").string();
    if (::freopen(log.c_str(), "a", stdout) == nullptr) ::_exit(126);
    ::dup2(::fileno(stdout), STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : command)
      arguments.push_back(const_cast<char*>(word.c_str()));  // NOLINT: exec does not write
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ~Process() { end(SIGKILL); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int wait() {
    int status = -1;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    return status;
  }
  void end(int signal) {
    if (process_ <= 0) return;
    ::kill(process_, signal);
    wait();
  }
  // As a crash of the machine would end it: with its children, which PostgreSQL lets answer on
  // their connections for a moment when their parent is gone.
  void end_with_children() {
    std::vector<pid_t> children;
    std::ifstream list(fmt::format("/proc/{0}/task/{0}/children", process_));
    for (pid_t child = 0; list >> child;)
      children.push_back(child);
    end(SIGKILL);
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      while (::kill(child, 0) == 0 && !is_zombie(child))
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

 private:
  static bool is_zombie(pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string text;
    std::getline(file, text);
    const size_t end = text.rfind(')');  // of the program's name
    return end == std::string::npos || text.compare(end + 2, 1, "Z") == 0;
  }

  pid_t process_ = -1;
};

struct Server {
  virtual ~Server() = default;
  virtual bool found() = 0;  // whether the program is on this machine
  virtual void start() = 0;
  virtual void kill() { process_->end_with_children(); }
  virtual std::unique_ptr<HistoryStore> open() = 0;

  // Opens as soon as the server answers.
  std::unique_ptr<HistoryStore> opened() {
    for (int i = 0; i < 400; ++i) {
      try {
        return open();
      } catch (const Error&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(25));
      }
    }
    return open();
  }
  static bool runs(const std::string& program) {
    return std::system((program + " --version > /dev/null 2>&1").c_str()) == 0;
  }

  TemporaryDirectory directory_;
  int port_ = free_port();
  std::unique_ptr<Process> process_;
};

std::unique_ptr<HistoryStore> redis_at(int port) {
  RedisOptions options;
  options.port = port;
  return open_redis_store(options);
}

struct Redis final : Server {
  bool found() override { return runs("redis-server"); }
  void start() override {
    process_ = std::make_unique<Process>(
        std::vector<std::string>{"redis-server", "--port", std::to_string(port_), "--bind",
                                 "127.0.0.1", "--dir", directory_.path().string(), "--appendonly",
                                 "yes", "--appendfsync", "always", "--save", ""},
        directory_.path(), false);
  }
  std::unique_ptr<HistoryStore> open() override { return redis_at(port_); }
};

struct Postgres final : Server {
  static std::string program(const std::string& name) {
    return runs(name) ? name : "/usr/lib/postgresql/15/bin/" + name;
  }
  bool found() override { return runs(program("initdb")) && runs(program("postgres")); }
  void start() override {
    const auto data = directory_.path() / "data";
    if (!std::filesystem::exists(data / "PG_VERSION")) {
      EXPECT_EQ(::chmod(directory_.path().c_str(), 0777), 0);
      Process init(
          {program("initdb"), "--no-sync", "-A", "trust", "-U", "llmcf", "-D", data.string()},
          directory_.path(), true);
      ASSERT_EQ(init.wait(), 0) << read_file(directory_.path() / "log");
    }
    process_ = std::make_unique<Process>(
        std::vector<std::string>{program("postgres"), "-D", data.string(), "-p",
                                 std::to_string(port_), "-k", directory_.path().string(), "-h",
                                 "127.0.0.1"},
        directory_.path(), true);
  }
  std::unique_ptr<HistoryStore> open() override {
    return open_postgres_store(
        fmt::format("host=127.0.0.1 port={} user=llmcf dbname=postgres", port_));
  }
};

class HistoryServer : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "redis") {
      server_ = std::make_unique<Redis>();
    } else {
      server_ = std::make_unique<Postgres>();
    }
    if (!server_->found()) GTEST_SKIP() << GetParam() << " is not on this machine";
    server_->start();
    store_ = server_->opened();
  }
  std::vector<std::string> items(const std::string& user, int64_t after = 0, int64_t limit = 100) {
    std::vector<std::string> found;
    for (const StoredEvent& event : store_->events(user, after, limit))
      found.push_back(event.item);
    return found;
  }
  void append(const std::vector<StoredEvent>& events) { store_->append(events); }

  std::unique_ptr<Server> server_;
  std::unique_ptr<HistoryStore> store_;
};

TEST_P(HistoryServer, KeepsThePromisesOfAStore) {
  EXPECT_EQ(store_->kind(), GetParam());
  const std::string odd = "it's \"odd\": {a,b} \\ \xC3\xA9";
  append({{"u", "b", 20}, {"u", odd, 10}, {odd, "x", 5}});
  append({{"u", "c", 20}});
  EXPECT_THAT(items("u"), ElementsAre(odd, "b", "c"));
  EXPECT_THAT(items("u", 10), ElementsAre("b", "c"));
  EXPECT_THAT(items("u", 0, 2), ElementsAre("b", "c"));
  EXPECT_THAT(items(odd), ElementsAre("x"));
  EXPECT_THAT(items("nobody"), ElementsAre());
  EXPECT_EQ(store_->size(), 4);
  EXPECT_EQ(store_->erase("u"), 3);
  EXPECT_THAT(items("u"), ElementsAre());
  EXPECT_EQ(store_->size(), 1);
  store_->put_item({"a", "1"});
  store_->put_item({"b", "2"});
  store_->put_item({"a", odd});
  const auto kept = store_->items();
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept[0].name + kept[0].json, "b2");
  EXPECT_EQ(kept[1].json, odd);
}

TEST_P(HistoryServer, LosesNothingWhenTheServerIsKilled) {
  for (int i = 0; i < 20; ++i)
    append({{"u", "item-" + std::to_string(i), i + 1}});
  server_->kill();
  EXPECT_THROW(append({{"u", "lost", 100}}), Error);
  EXPECT_THROW(store_->size(), Error);
  server_->start();
  store_ = server_->opened();
  const auto found = items("u");
  ASSERT_EQ(found.size(), 20U);
  EXPECT_EQ(found.back(), "item-19");
}

TEST_P(HistoryServer, IsUsedAgainWhenItIsBack) {
  append({{"u", "a", 1}});
  server_->kill();
  EXPECT_THROW(store_->size(), Error);
  server_->start();
  server_->opened();
  // The same store: the call after the loss makes a new connection.
  int64_t size = -1;
  for (int i = 0; i < 3 && size < 0; ++i) {
    try {
      size = store_->size();
    } catch (const Error&) {
    }
  }
  EXPECT_EQ(size, 1);
}

TEST_P(HistoryServer, ServesSeveralThreads) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([this, t] {
      for (int i = 0; i < 10; ++i)
        append({{"user-" + std::to_string(t), "item", i + 1}});
    });
  threads.clear();
  EXPECT_EQ(store_->size(), 30);
}

INSTANTIATE_TEST_SUITE_P(Kinds, HistoryServer, ::testing::Values("redis", "postgres"),
                         [](const auto& kind) { return kind.param; });

TEST(HistoryServers, OneThatIsNotThereIsNamed) {
  try {
    redis_at(free_port());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("redis at 127.0.0.1:"));
  }
  EXPECT_THROW(open_postgres_store(fmt::format("host=127.0.0.1 port={}", free_port())), Error);
  EXPECT_THROW(open_history_store(Config::parse("{kind: redis, password_env: LLMCF_NOT_SET}")),
               InputError);
}

}  // namespace
}  // namespace llmcf::serve
