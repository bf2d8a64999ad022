// The few matrix operations behind LSA. All results are the same for any number of threads: work is
// cut into blocks of fixed size and their results are added in order.
//
// Matrices are row-major. A sparse matrix is a list of rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/feature_table.h"

namespace llmcf::text {

struct SparseMatrix {
  int64_t columns = 0;
  std::vector<int64_t> offsets = {0};  // [rows + 1]
  std::vector<SparseEntry> entries;    // columns ascending within a row

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  SparseMatrix transposed() const;
};

// [sparse.rows(), width] = sparse * dense, dense [sparse.columns, width].
std::vector<float> multiply(const SparseMatrix& sparse, std::span<const float> dense,
                            int64_t width);

struct Svd {
  int64_t rank = 0;             // columns found, at most the width asked for
  std::vector<float> right;     // V [columns, width]; columns beyond the rank are zero
  std::vector<float> singular;  // [width], descending, zero beyond the rank
};

struct SvdOptions {
  int64_t width = 256;
  int64_t iterations = 3;
  int64_t oversampling = 16;
  uint64_t seed = 1;
};

// Leading right singular vectors by randomised subspace iteration with Rayleigh-Ritz (Halko,
// Martinsson and Tropp 2011, algorithm 4.4 on the transpose). The largest entry of each column is
// positive.
Svd truncated_svd(const SparseMatrix& matrix, const SvdOptions& options);

}  // namespace llmcf::text
