// OpenMP's thread count while faiss works.
#pragma once

#include <omp.h>

#include "core/threads.h"

namespace llmcf::retrieval {

// This thread's OpenMP regions run on thread_count() threads as long as it lives.
class OmpThreads {
 public:
  OmpThreads() : before_(omp_get_max_threads()) { omp_set_num_threads(thread_count()); }
  ~OmpThreads() { omp_set_num_threads(before_); }
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int before_;
};

}  // namespace llmcf::retrieval
