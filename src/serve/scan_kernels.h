// The inner loops of the search for examples, compiled for every instruction set and chosen at run
// time (Highway).
#pragma once

#include <cstdint>

namespace llmcf::serve::kernels {

// out[c] = query . column c of half-precision column panels [columns / 32][width][32].
void scan_half(const float* query, const uint16_t* panels, int64_t columns, int64_t width,
               float* out);
// out[i] = query . row ids[i] of a row-major matrix in half precision.
void half_rows(const float* query, const uint16_t* rows, const int32_t* ids, int64_t count,
               int64_t width, float* out);
// out[i] = scale * (query . row ids[i]) of a row-major matrix, each one chain of fused
// multiply-adds from 0 in the order of the width, as retrieval/kernels.h has it.
void chained_dots(const float* query, const float* rows, const int32_t* ids, int64_t count,
                  int64_t width, float scale, float* out);

// out[i] = most[group[i]] + factor * target[i].
void gathered_sums(const float* most, const int32_t* group, const float* target, float factor,
                   int64_t count, float* out);
// Merges values into `best`, the k largest so far in descending order.
void merge_largest(const float* values, int64_t count, float* best, int64_t k);
// The largest value of [begin[g], begin[g + 1]), for every group. REQUIRES: no group is empty.
void largest_of_groups(const float* values, const int32_t* begin, int64_t groups, float* out);
// REQUIRES: count >= 1.
float largest(const float* values, int64_t count);
// A bound that at least k of the values reach, not far below the k-th largest of many; of few
// -infinity.
// REQUIRES: 1 <= k <= count.
float bound_of_largest(const float* values, int64_t count, int64_t k);
// The indices of a[i] + factor * b[i] >= floor, ascending; returns how many. `out` holds count.
int64_t indices_above(const float* a, const float* b, float factor, int64_t count, float floor,
                      int32_t* out);

// IEEE half precision and back, in memory as uint16. REQUIRES: |values| < 65504.
void to_half(const float* from, uint16_t* to, int64_t count);
void from_half(const uint16_t* from, float* to, int64_t count);

}  // namespace llmcf::serve::kernels
