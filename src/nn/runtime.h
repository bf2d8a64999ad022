// What libtorch was found at run time, and its threads, for rooms outside the torch wall. No
// libtorch header in here.
#pragma once

#include <string>

namespace llmcf::nn {

struct RuntimeInfo {
  std::string torch_version;   // "1.13.1"
  std::string cpu_capability;  // what libtorch dispatches to, e.g. "AVX2"
  int threads = 0;             // at::get_num_threads()
  bool cuda = false;           // a usable CUDA device
};

RuntimeInfo runtime_info();

// Threads of libtorch and OpenMP. libtorch may start with one.
void set_threads(int count);

}  // namespace llmcf::nn
