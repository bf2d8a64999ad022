// Histories on disk: order, visibility, many threads, and kill -9 at any moment.
#include "serve/history_store.h"

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/sqlite.h"

namespace llmcf::serve {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> items_of(HistoryStore& store, const std::string& user, int64_t after = 0,
                                  int64_t limit = 100) {
  std::vector<std::string> items;
  for (const StoredEvent& event : store.events(user, after, limit))
    items.push_back(event.item);
  return items;
}

void append(HistoryStore& store, const std::vector<StoredEvent>& events) {
  store.append(events);
}

TEST(HistoryStore, ReturnsWhatWasAppendedInOrder) {
  const TemporaryDirectory directory;
  const auto store = open_sqlite_store(directory.path() / "deep" / "h.sqlite");
  append(*store, {{"u", "b", 20}, {"u", "a", 10}, {"v", "x", 5}});
  append(*store, {{"u", "c", 20}});
  EXPECT_THAT(items_of(*store, "u"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(items_of(*store, "u", 10), ElementsAre("b", "c"));
  EXPECT_THAT(items_of(*store, "u", 0, 2), ElementsAre("b", "c"));
  EXPECT_THAT(items_of(*store, "nobody"), ElementsAre());
  EXPECT_EQ(store->size(), 4);
  EXPECT_EQ(store->erase("u"), 3);
  EXPECT_THAT(items_of(*store, "u"), ElementsAre());
  EXPECT_THAT(items_of(*store, "v"), ElementsAre("x"));
}

TEST(HistoryStore, KeepsItemsAndReplacesThem) {
  const TemporaryDirectory directory;
  {
    const auto store = open_sqlite_store(directory.path() / "h.sqlite");
    store->put_item({"a", "1"});
    store->put_item({"b", "2"});
    store->put_item({"a", "3"});
  }
  const auto store = open_sqlite_store(directory.path() / "h.sqlite");
  const auto items = store->items();
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].name + items[0].json, "b2");
  EXPECT_EQ(items[1].name + items[1].json, "a3");
}

TEST(HistoryStore, ThreadsSeeTheirOwnAppendsAtOnce) {
  const TemporaryDirectory directory;
  const auto store = open_sqlite_store(directory.path() / "h.sqlite");
  std::atomic<int> missing = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const std::string user = "user-" + std::to_string(t);
      for (int i = 0; i < 25; ++i) {
        append(*store, {{user, "item-" + std::to_string(i), i + 1}});
        if (items_of(*store, user).size() != static_cast<size_t>(i) + 1) ++missing;
      }
    });
  threads.clear();
  EXPECT_EQ(missing, 0);
  EXPECT_EQ(store->size(), 100);
}

// Appends one event after the other and writes to the pipe what was acknowledged.
[[noreturn]] void append_for_ever(const std::filesystem::path& file, int pipe) {
  const auto store = open_sqlite_store(file);
  for (int32_t i = store->size(); true; ++i) {
    append(*store, {{"u", "item-" + std::to_string(i), i + 1}});
    if (::write(pipe, &i, sizeof(i)) != sizeof(i)) ::_exit(1);
  }
}

TEST(HistoryStore, LosesNothingAcknowledgedWhenKilled) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "h.sqlite";
  int32_t last = -1;
  for (int round = 0; round < 6; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      append_for_ever(file, ends[1]);
    }
    ::close(ends[1]);
    // Killed after some acknowledgements, at no particular moment of the next append.
    int32_t acknowledged = -1;
    for (int i = 0; i < 3 + 4 * round; ++i)
      ASSERT_EQ(::read(ends[0], &acknowledged, sizeof(acknowledged)),
                static_cast<ssize_t>(sizeof(acknowledged)));
    std::this_thread::sleep_for(std::chrono::microseconds(700 * round));
    ::kill(child, SIGKILL);
    while (::read(ends[0], &acknowledged, sizeof(acknowledged)) > 0)
      last = acknowledged;
    last = std::max(last, acknowledged);
    ::waitpid(child, nullptr, 0);
    ::close(ends[0]);
    const auto store = open_sqlite_store(file);
    ASSERT_GE(store->size(), last + 1);
    const auto items = items_of(*store, "u", 0, 1 << 20);
    for (size_t i = 0; i < items.size(); ++i)
      ASSERT_EQ(items[i], "item-" + std::to_string(i));
  }
}

TEST(HistoryStore, RefusesOtherFilesAndKeysByName) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "h.sqlite", std::string(4096, 'x'));
  EXPECT_THROW(open_sqlite_store(directory.path() / "h.sqlite"), Error);
  {
    Database other(directory.path() / "newer.sqlite", Database::Mode::kReadWrite);
    other.exec("PRAGMA user_version = 99");
  }
  EXPECT_THROW(open_sqlite_store(directory.path() / "newer.sqlite"), InputError);
  EXPECT_THROW(open_history_store(Config::parse("{kind: mysql}")), InputError);
  EXPECT_THROW(open_history_store(Config::parse("{flie: x}")), InputError);
}

}  // namespace
}  // namespace llmcf::serve
