// Data-parallel loops on threads of their own, joined before they return.
#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include "core/error.h"

namespace llmcf {

namespace {

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int& count_slot() {
  static int count = available_cores();
  return count;
}

// Runs task(worker) on `workers` threads, this one included, and rethrows the first exception.
void run_workers(int workers, const std::function<void(int)>& task) {
  std::exception_ptr failure;
  std::mutex guard;
  const auto guarded = [&](int worker) {
    try {
      task(worker);
    } catch (...) {
      const std::lock_guard lock(guard);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<size_t>(workers - 1));
    for (int worker = 1; worker < workers; ++worker)
      threads.emplace_back(guarded, worker);
    guarded(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

int thread_count() {
  return count_slot();
}

void set_thread_count(int count) {
  LLMCF_ASSERT(count >= 1);
  count_slot() = count;
}

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int workers = static_cast<int>(std::min<int64_t>(thread_count(), most));
  if (workers == 1) return body(0, count);
  run_workers(workers,
              [&](int worker) { body(count * worker / workers, count * (worker + 1) / workers); });
}

void parallel_chunks(int64_t count, int64_t grain,
                     const std::function<void(int64_t, int64_t, int)>& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int64_t chunks = (count + grain - 1) / grain;
  const int workers = static_cast<int>(std::min<int64_t>(thread_count(), chunks));
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  run_workers(workers, [&](int worker) {
    try {
      for (int64_t begin = grain * next++; begin < count && !stop; begin = grain * next++) {
        body(begin, std::min(count, begin + grain), worker);
      }
    } catch (...) {
      stop = true;
      throw;
    }
  });
}

}  // namespace llmcf
