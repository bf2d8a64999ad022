// Mean of the rows a bag names, forward and backward: what turns gathered embedding rows into field
// values. A slab holds the distinct rows of one table in use, [U, width]; columns [0, D) are the
// embedding, an optional last column the first-order weight.
//
// Invariant: both passes give the same bits for any number of threads. Forward may be split by
// samples, backward by columns.
#pragma once

#include <cstdint>

namespace llmcf::nn::kernels {

struct BagField {
  const int32_t* offsets = nullptr;  // [S + 1]
  const int32_t* ids = nullptr;      // slab rows
  const float* weights = nullptr;    // null = all 1
  int32_t table = 0;                 // which slab
  bool first_order = false;          // adds to the first-order sum
};

struct SlabView {
  const float* values = nullptr;  // [U, width]
  int64_t width = 0;              // D, or D + 1 with a first-order column
  int32_t frozen_row = -1;        // gets no gradient (the padding row); -1 = none
};

// values[s, f, :] for samples [begin, end); `values` is [S, F, D].
void pool_bags(const BagField* fields, int64_t field_count, const SlabView* slabs, int64_t d,
               float* values, int64_t begin, int64_t end);

// first_order[s] for samples [begin, end).
void pool_first_order(const BagField* fields, int64_t field_count, const SlabView* slabs, int64_t d,
                      float* first_order, int64_t begin, int64_t end);

// Adds the gradient of one field's columns [column_begin, column_end) to the gradient of its slab,
// [U, width]. `upstream` is at [s * stride + column]. Samples [begin, end).
void pool_bags_backward(const BagField& field, const SlabView& slab, const float* upstream,
                        int64_t stride, int64_t column_begin, int64_t column_end, int64_t begin,
                        int64_t end, float* slab_gradient);

}  // namespace llmcf::nn::kernels
