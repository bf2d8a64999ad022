// Builds the elements of a sequence ahead of their reader: a ring between one builder thread and
// one reader. No libtorch.
//
// Invariants:
//  1. Elements arrive in order, whatever the timing; their content does not depend on the thread.
//  2. At most `depth` finished elements wait. Destruction early on stops the thread.
//  3. An exception of the builder is rethrown by next().
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace llmcf::train {

template <typename Element>
class Prefetcher {
 public:
  using Build = std::function<void(int64_t index, Element& into)>;

  // Elements [0, total); depth 0 = build in next(), without a thread.
  Prefetcher(int64_t total, int64_t depth, Build build)
      : total_(total), depth_(depth), build_(std::move(build)) {
    LLMCF_ASSERT(total >= 0 && depth >= 0);
    ring_.resize(static_cast<size_t>(depth) + 1);  // one more than wait: the one the reader holds
    if (depth > 0) thread_ = std::thread([this] { work(); });
  }

  ~Prefetcher() {
    {
      const std::lock_guard lock(guard_);
      stopped_ = true;
    }
    room_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Valid until the following call; null at the end.
  const Element* next() {
    if (given_ >= total_) return nullptr;
    if (depth_ == 0) {
      build_(given_, place(given_));
      return &place(given_++);
    }
    std::unique_lock lock(guard_);
    ready_.wait(lock, [&] { return built_ > given_ || failure_; });
    if (built_ <= given_) std::rethrow_exception(failure_);
    const Element* element = &place(given_++);
    room_.notify_one();
    return element;
  }

  int64_t total() const { return total_; }
  int64_t given() const { return given_; }

 private:
  Element& place(int64_t index) { return ring_[static_cast<size_t>(index) % ring_.size()]; }

  void work() {
    try {
      for (int64_t index = 0; index < total_; ++index) {
        {
          std::unique_lock lock(guard_);
          // Element `given_ - 1` is the reader's until it asks for the next one.
          room_.wait(lock, [&] { return stopped_ || index < given_ + depth_; });
          if (stopped_) return;
        }
        build_(index, place(index));
        const std::lock_guard lock(guard_);
        built_ = index + 1;
        ready_.notify_one();
      }
    } catch (...) {
      const std::lock_guard lock(guard_);
      failure_ = std::current_exception();
      ready_.notify_one();
    }
  }

  int64_t total_, depth_;
  Build build_;
  std::vector<Element> ring_;

  std::mutex guard_;  // of everything below but the thread
  std::condition_variable room_;
  std::condition_variable ready_;
  int64_t built_ = 0;
  int64_t given_ = 0;
  bool stopped_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace llmcf::train
