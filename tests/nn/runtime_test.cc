// Process-wide arithmetic: denormal numbers count as zero inside a scope, in every thread, and
// nowhere else.
#include "nn/runtime.h"

#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace llmcf::nn {
namespace {

// Half of the smallest normal number, computed on each OpenMP thread.
std::vector<float> halves_of_smallest() {
  std::vector<float> halves(64);
#pragma omp parallel for
  for (int place = 0; place < 64; ++place) {  // NOLINT(modernize-loop-convert): parallel
    volatile float smallest = std::numeric_limits<float>::min();
    halves[static_cast<size_t>(place)] = smallest * 0.5F;
  }
  return halves;
}

TEST(DenormalsAreZero, HoldsOnEveryThreadForItsLifeOnly) {
  set_threads(2);
  EXPECT_GT(halves_of_smallest().front(), 0.0F);
  {
    const DenormalsAreZero outer;
    {
      const DenormalsAreZero inner;
      EXPECT_EQ(halves_of_smallest(), std::vector<float>(64, 0.0F));
    }
    EXPECT_EQ(halves_of_smallest(), std::vector<float>(64, 0.0F)) << "the outer scope still holds";
  }
  for (const float half : halves_of_smallest())
    EXPECT_GT(half, 0.0F);
}

}  // namespace
}  // namespace llmcf::nn
