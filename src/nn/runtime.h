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
// rows/s, with short spins at 20,600; on an idle machine the two are equal. The runtime reads the
// limit when it is loaded, so this restarts the program once with GOMP_SPINCOUNT=1000, unless that
// or OMP_WAIT_POLICY is set. Call it first thing in main().
void limit_spinning(char** argv);

// Restarts the running program, once, with OMP_WAIT_POLICY=passive, unless the environment already
// names a policy: an idle thread then sleeps instead of spinning. The OpenMP library reads it when
// it is loaded, so call this first in main(). On two cores shared with other work a training step
// is up to 50 times faster for it. Does nothing if the restart fails.
void wait_passively(char** argv);

}  // namespace llmcf::nn
