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

// Waiting OpenMP threads spin for milliseconds by default. On a machine that others use as well
// this costs far more than it saves: plain DeepFM on 2 cores under a load of 5 trains at 3,100
// rows/s, with short spins at 20,600. The runtime reads the
// limit when it is loaded, so this restarts the program once with GOMP_SPINCOUNT=1000, unless that
// or OMP_WAIT_POLICY is set. Call it first thing in main().
void limit_spinning(char** argv);

}  // namespace llmcf::nn
