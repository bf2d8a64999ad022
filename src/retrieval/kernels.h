// The inner loops of retrieval, compiled for every instruction set and chosen at run time
// (Highway).
//
// Matrices are packed into panels so that the inner loop reads memory in order:
//   row panels     [ceil(rows / kPanelRows)][width][kPanelRows]
//   column panels  [ceil(columns / kPanelColumns)][width][kPanelColumns]
// with zeros where rows or columns end.
//
// Invariant: every product is one chain of fused multiply-adds over the width, in order, starting
// at 0, wherever the row and the column stand. That is why this is not a BLAS call: a library may
// sum a row at the edge of a block in another order, and then equal vectors get unequal scores and
// the order of ties depends on the blocking. (Without fused multiply-add in the processor: product
// and sum are rounded apart.)
#pragma once

#include <cstdint>
#include <span>

namespace llmcf::retrieval {

class Selector;

namespace kernels {

constexpr int64_t kPanelRows = 12;
constexpr int64_t kPanelColumns = 32;

// out[r, c] = scale * (row r . column c), row-major with `stride` floats between rows; writes
// row_panels * kPanelRows rows and column_panels * kPanelColumns columns.
struct Product {
  const float* rows = nullptr;     // row panels
  const float* columns = nullptr;  // column panels
  int64_t row_panels = 0;
  int64_t column_panels = 0;
  int64_t width = 0;
  float scale = 1;
  float* out = nullptr;
  int64_t stride = 0;
};
void multiply(const Product& product);

// Offers the selector every column c of [first, first + count) with first_half[c - first] +
// second_half[c - first] above its threshold, in ascending order. count: a multiple of
// kPanelColumns.
void scan(const float* first_half, const float* second_half, int64_t count, int64_t first,
          Selector& selector);

// How many of `panels` * kPanelColumns scores exceed the threshold.
int64_t count_above(const float* scores, int64_t panels, float threshold);
// The first panel of kPanelColumns scores that holds one above the threshold; `panels` if none
// does.
int64_t first_above(const float* scores, int64_t panels, float threshold);

// Any order of summation.
float dot(const float* a, const float* b, int64_t width);

// sum[i] += row[i];  out[i] = sum[i] * factor.
void add_to(float* sum, const float* row, int64_t width);
void scale_to(float* out, const float* sum, float factor, int64_t width);

// "AVX3", "AVX2", ...: what runs here.
const char* instruction_set();

}  // namespace kernels
}  // namespace llmcf::retrieval
