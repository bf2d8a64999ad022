#include "net/work_queue.h"

namespace llmcf::net {

WorkQueue::WorkQueue(int workers, int64_t limit) : limit_(limit + workers) {
  for (int i = 0; i < workers; ++i)
    threads_.emplace_back([this] { work(); });
}

WorkQueue::~WorkQueue() {
  stop();
}

bool WorkQueue::try_push(std::function<void()> task) {
  {
    const std::lock_guard lock(guard_);
    if (stopped_ || static_cast<int64_t>(tasks_.size()) + running_ >= limit_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

void WorkQueue::stop() {
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(guard_);
    stopped_ = true;
    dropped.swap(tasks_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

int64_t WorkQueue::waiting() const {
  const std::lock_guard lock(guard_);
  return static_cast<int64_t>(tasks_.size());
}

int64_t WorkQueue::running() const {
  const std::lock_guard lock(guard_);
  return running_;
}

void WorkQueue::work() {
  std::unique_lock lock(guard_);
  for (;;) {
    changed_.wait(lock, [&] { return stopped_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++running_;
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes before the next wait
    lock.lock();
    --running_;
  }
}

}  // namespace llmcf::net
