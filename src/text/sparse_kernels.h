// The inner loop of sparse times dense, compiled for several instruction sets and chosen at run
// time.
#pragma once

#include <cstdint>

#include "text/feature_table.h"

namespace llmcf::text {

// out[0, width) = sum over the entries of value * dense[column * width + ...].
void accumulate_rows(const SparseEntry* entries, int64_t count, const float* dense, int64_t width,
                     float* out);

}  // namespace llmcf::text
