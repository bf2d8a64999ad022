// Threads for data-parallel loops. One process-wide count, set once by the program (`--threads`);
// loops split a range into contiguous chunks, so a result that does not depend on the chunks is the
// same for every count.
#pragma once

#include <cstdint>
#include <functional>

namespace llmcf {

// Threads a loop may use; by default the cores this process may run on.
int thread_count();
// REQUIRES: count >= 1. Not thread-safe; call it before work starts.
void set_thread_count(int count);

// Calls body(begin, end) for chunks of at least `grain` indices that together cover [0, count), on
// up to thread_count() threads, and returns when all are done. The first exception thrown by a body
// is rethrown.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

// Like parallel_for, but chunks of exactly `grain` are handed out as workers get free: for uneven
// work. body(begin, end, worker) with worker in [0, thread_count()).
void parallel_chunks(int64_t count, int64_t grain,
                     const std::function<void(int64_t, int64_t, int)>& body);

}  // namespace llmcf
