#include "nn/runtime.h"

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <system_error>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <unistd.h>

namespace llmcf::nn {

namespace {

// The word after "CPU capability usage: " in libtorch's description of itself.
std::string capability_of(const std::string& description) {
  constexpr std::string_view kMark = "CPU capability usage: ";
  const size_t begin = description.find(kMark);
  if (begin == std::string::npos) return "unknown";
  const size_t start = begin + kMark.size();
  return description.substr(start, description.find_first_of(" \n", start) - start);
}

}  // namespace

RuntimeInfo runtime_info() {
  return {.torch_version = TORCH_VERSION,
          .cpu_capability = capability_of(at::show_config()),
          .threads = at::get_num_threads(),
          .cuda = at::globalContext().hasCUDA()};
}

void limit_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  std::error_code no_link;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", no_link);
  if (!no_link) ::execv(program.c_str(), argv);
  // Not restarted: slower on a busy machine, but right.
}

void set_threads(int count) {
  at::set_num_threads(count);
}

namespace {

// Half of the smallest normal number is denormal: 0 where denormals are flushed.
bool flushes_denormals() {
  volatile float smallest = std::numeric_limits<float>::min();
  return smallest * 0.5F == 0.0F;
}

void flush_denormals_everywhere(bool on) {
#pragma omp parallel
  at::globalContext().setFlushDenormal(on);
}

}  // namespace

DenormalsAreZero::DenormalsAreZero() : before_(flushes_denormals()) {
  flush_denormals_everywhere(true);
}

DenormalsAreZero::~DenormalsAreZero() {
  if (!before_) flush_denormals_everywhere(false);
}

}  // namespace llmcf::nn
