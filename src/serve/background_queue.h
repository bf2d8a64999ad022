// Work that may wait and may be dropped: one thread of low priority behind a bounded queue.
//
// Invariants:
//  1. offer() never waits: where there is no room the job is refused.
//  2. No job ends the queue: what it throws is logged.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace llmcf::serve {

class BackgroundQueue {
 public:
  explicit BackgroundQueue(size_t capacity);
  // Finishes the job that runs and drops those that wait.
  ~BackgroundQueue();
  BackgroundQueue(const BackgroundQueue&) = delete;
  BackgroundQueue& operator=(const BackgroundQueue&) = delete;

  // False: there is no room.
  bool offer(std::function<void()> job);
  bool full() const { return waiting() >= static_cast<int64_t>(capacity_); }
  int64_t waiting() const { return waiting_; }
  // Until nothing waits or runs.
  void wait_until_idle();

 private:
  void run();

  const size_t capacity_;
  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool running_ = false, stopping_ = false;
  std::atomic<int64_t> waiting_ = 0;
  std::thread thread_;  // last: it uses the others
};

}  // namespace llmcf::serve
