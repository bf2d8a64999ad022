// The embedded store: one writing connection that commits what several threads append together, one
// reading connection.
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "core/error.h"
#include "core/sqlite.h"
#include "serve/history_store.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kFormat = 1;

Database open_file(const std::filesystem::path& file, Database::Mode mode) {
  if (mode == Database::Mode::kReadWrite && file.has_parent_path())
    std::filesystem::create_directories(file.parent_path());
  return {file, mode};
}

class SqliteStore final : public HistoryStore {
 public:
  explicit SqliteStore(const std::filesystem::path& file)
      : writer_(open_file(file, Database::Mode::kReadWrite)), file_(file) {
    prepare();
    reader_ = std::make_unique<Database>(file, Database::Mode::kReadOnly);
    thread_ = std::jthread([this](const std::stop_token& stop) { write(stop); });
  }
  ~SqliteStore() override {
    thread_.request_stop();
    changed_.notify_all();
  }

  void append(std::span<const StoredEvent> events) override {
    if (events.empty()) return;
    Job job{.events = events, .item = nullptr};
    run(job);
  }
  void put_item(const StoredItem& item) override {
    Job job{.events = {}, .item = &item};
    run(job);
  }

  std::vector<StoredEvent> events(const std::string& user, int64_t after, int64_t limit) override {
    const std::lock_guard lock(reading_);
    Statement query(*reader_,
                    "SELECT item, time FROM (SELECT id, item, time FROM event WHERE user = ? AND "
                    "time > ? ORDER BY time DESC, id DESC LIMIT ?) ORDER BY time, id");
    query.bind(user).bind(after).bind(limit);
    std::vector<StoredEvent> found;
    while (query.step())
      found.push_back({.user = user, .item = query.text(0), .time = query.integer(1)});
    return found;
  }

  int64_t size() override {
    const std::lock_guard lock(reading_);
    Statement query(*reader_, "SELECT count(*) FROM event");
    query.step();
    return query.integer(0);
  }

  int64_t erase(const std::string& user) override {
    const std::lock_guard lock(writing_);
    Statement removal(writer_, "DELETE FROM event WHERE user = ?");
    removal.bind(user).run();
    return writer_.changes();
  }

  std::vector<StoredItem> items() override {
    const std::lock_guard lock(reading_);
    Statement query(*reader_, "SELECT name, json FROM item ORDER BY id");
    std::vector<StoredItem> found;
    while (query.step())
      found.push_back({.name = query.text(0), .json = query.text(1)});
    return found;
  }

  std::string kind() const override { return "sqlite"; }

 private:
  struct Job {
    std::span<const StoredEvent> events;
    const StoredItem* item = nullptr;
    bool done = false;
    std::exception_ptr failure = nullptr;
  };

  void prepare() {
    writer_.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    Statement version(writer_, "PRAGMA user_version");
    version.step();
    const int64_t found = version.integer(0);
    version.reset();
    if (found != 0 && found != kFormat)
      throw InputError(
          file_.string(), 0,
          fmt::format("holds histories of format {}, this program writes {}", found, kFormat));
    writer_.exec(fmt::format(
        "CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, user TEXT NOT NULL, item TEXT "
        "NOT NULL, time INTEGER NOT NULL);"
        "CREATE INDEX IF NOT EXISTS event_by_user ON event (user, time, id);"
        "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, json "
        "TEXT NOT NULL);"
        "PRAGMA user_version = {};",
        kFormat));
  }

  // Hands the job to the writing thread and waits until it is durable.
  void run(Job& job) {
    std::unique_lock lock(queue_);
    waiting_.push_back(&job);
    changed_.notify_all();
    changed_.wait(lock, [&job] { return job.done; });
    if (job.failure) std::rethrow_exception(job.failure);
  }

  void write(const std::stop_token& stop) {
    std::unique_lock lock(queue_);
    while (true) {
      changed_.wait(lock, [&] { return stop.stop_requested() || !waiting_.empty(); });
      if (waiting_.empty()) return;
      std::deque<Job*> batch;
      batch.swap(waiting_);
      lock.unlock();
      const std::exception_ptr failure = commit(batch);
      lock.lock();
      for (Job* job : batch) {
        job->failure = failure;
        job->done = true;
      }
      changed_.notify_all();
    }
  }

  // All jobs in one transaction.
  std::exception_ptr commit(const std::deque<Job*>& batch) {
    const std::lock_guard lock(writing_);
    try {
      Transaction transaction(writer_);
      Statement event(writer_, "INSERT INTO event (user, item, time) VALUES (?, ?, ?)");
      Statement item(writer_, "INSERT OR REPLACE INTO item (name, json) VALUES (?, ?)");
      for (const Job* job : batch) {
        for (const StoredEvent& one : job->events)
          event.bind(one.user).bind(one.item).bind(one.time).run();
        if (job->item != nullptr) item.bind(job->item->name).bind(job->item->json).run();
      }
      transaction.commit();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  Database writer_;
  std::filesystem::path file_;
  std::unique_ptr<Database> reader_;
  std::mutex reading_, writing_, queue_;
  std::condition_variable changed_;
  std::deque<Job*> waiting_;
  std::jthread thread_;  // last: ends first
};

}  // namespace

std::unique_ptr<HistoryStore> open_sqlite_store(const std::filesystem::path& file) {
  return std::make_unique<SqliteStore>(file);
}

}  // namespace llmcf::serve
