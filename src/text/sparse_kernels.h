// The inner loops of sparse times dense, compiled for several instruction sets and chosen at run
// time.
#pragma once

#include <cstdint>

#include "text/feature_table.h"

namespace llmcf::text {

// out[0, width) = sum over the entries of value * dense[column * width + ...].
void accumulate_rows(const SparseEntry* entries, int64_t count, const float* dense, int64_t width,
                     float* out);

// The same for many sparse rows (row r has entries [offsets[r], offsets[r + 1])) and dense rows of
// kTileWidth columns; row r of the result begins at out[r * out_stride].
constexpr int64_t kTileWidth = 64;
void accumulate_tile(const SparseEntry* entries, const int64_t* offsets, int64_t rows,
                     const float* dense, float* out, int64_t out_stride);

}  // namespace llmcf::text
