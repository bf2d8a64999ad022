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

// For its life, arithmetic of the calling thread and of OpenMP's threads takes and gives 0 instead
// of denormal numbers. Weight decay drives what a model does not use towards 0 through the
// denormal range, where processors are up to a hundred times slower: evaluation of an in-context
// model took 17.9 s with them after one epoch and 1.5 s before it.
class DenormalsAreZero {
 public:
  DenormalsAreZero();
  ~DenormalsAreZero();
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
  bool before_;  // whether the calling thread had it already: then it stays
};

// Waiting OpenMP threads spin for milliseconds by default. On a machine that others use as well
// this costs far more than it saves: plain DeepFM on 2 cores under a load of 5 trains at 3,100
// rows/s, with short spins at 20,600. The runtime reads the
// limit when it is loaded, so this restarts the program once with GOMP_SPINCOUNT=1000, unless that
// or OMP_WAIT_POLICY is set. Call it first thing in main().
void limit_spinning(char** argv);

}  // namespace llmcf::nn
