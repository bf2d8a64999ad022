#include "serve/background_queue.h"

#include <exception>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "core/log.h"

namespace llmcf::serve {

namespace {

constexpr int kNice = 10;

// Linux has a priority per thread. Failing changes nothing but who waits.
void lower_own_priority() {
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice) != 0)
    log::warn("the background thread keeps the priority of the others");
}

}  // namespace

BackgroundQueue::BackgroundQueue(size_t capacity)
    : capacity_(capacity), thread_([this] { run(); }) {}

BackgroundQueue::~BackgroundQueue() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool BackgroundQueue::offer(std::function<void()> job) {
  // The thread behind may have been stopped while it held the lock: better to drop than to wait.
  const std::unique_lock lock(guard_, std::try_to_lock);
  if (!lock.owns_lock() || jobs_.size() >= capacity_) return false;
  jobs_.push_back(std::move(job));
  waiting_ = static_cast<int64_t>(jobs_.size());
  changed_.notify_all();
  return true;
}

void BackgroundQueue::wait_until_idle() {
  std::unique_lock lock(guard_);
  changed_.wait(lock, [this] { return jobs_.empty() && !running_; });
}

void BackgroundQueue::run() {
  lower_own_priority();
  std::unique_lock lock(guard_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    waiting_ = static_cast<int64_t>(jobs_.size());
    running_ = true;
    lock.unlock();
    try {
      job();
    } catch (const std::exception& error) {
      log::warn("background work failed: {}", error.what());
    }
    job = nullptr;  // what it holds is free before it counts as done
    lock.lock();
    running_ = false;
    changed_.notify_all();
  }
}

}  // namespace llmcf::serve
