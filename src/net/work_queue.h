// A fixed number of threads and a bounded queue of what they are to do.
//
// Invariant: at most `workers` run and `limit` wait; whoever comes then is told so at once.
// Thread safety: all of it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace llmcf::net {

class WorkQueue {
 public:
  // REQUIRES: workers >= 1, limit >= 0.
  WorkQueue(int workers, int64_t limit);
  // stop().
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // False, and nothing happens, if the queue is full or stopped. `task` must not throw.
  bool try_push(std::function<void()> task);
  // Drops what waits, and returns when what runs is done.
  void stop();
  int64_t waiting() const;
  int64_t running() const;

 private:
  void work();

  const int64_t limit_;
  mutable std::mutex guard_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  int64_t running_ = 0;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace llmcf::net
