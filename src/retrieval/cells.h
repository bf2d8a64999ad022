// Vectors in cells of k-means, for searches that read the cells near a query only.
//
// Invariants:
//  1. The same vectors and options give the same cells, whatever the number of threads.
//  2. Every vector is in one cell; a cell may be empty.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llmcf::retrieval {

struct Cells {
  int64_t width = 0;           // V
  std::vector<float> centres;  // [C, V]
  std::vector<int32_t> of;     // [N] the cell of every row

  int64_t count() const { return width == 0 ? 0 : static_cast<int64_t>(centres.size()) / width; }
};

// `rows` [N, V]. k-means over a sample of the rows by faiss; then every row goes to the centre that
// is closest by Euclidean distance. Throws Error unless 1 <= cells <= N.
Cells make_cells(std::span<const float> rows, int64_t width, int64_t cells, uint64_t seed);

}  // namespace llmcf::retrieval
