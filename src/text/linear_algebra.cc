#include "text/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

#include <Eigen/Eigenvalues>
#include <cblas.h>
#include <omp.h>

#include "core/random.h"
#include "core/threads.h"
#include "text/sparse_kernels.h"

namespace llmcf::text {

namespace {

constexpr int64_t kBlockRows = 2048;

// OpenBLAS runs on the calling thread only, for the blocks are already spread over threads. An
// OpenMP build asks the calling thread's own setting, others the process's: one object per thread
// that calls, and one around them all.
class SingleThreadedBlas {
 public:
  SingleThreadedBlas() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThreadedBlas() { omp_set_num_threads(before_); }
  SingleThreadedBlas(const SingleThreadedBlas&) = delete;
  SingleThreadedBlas& operator=(const SingleThreadedBlas&) = delete;

 private:
  int before_;
};

class SingleThreadedProcess {
 public:
  SingleThreadedProcess() : before_(openblas_get_num_threads()) { openblas_set_num_threads(1); }
  ~SingleThreadedProcess() { openblas_set_num_threads(before_); }
  SingleThreadedProcess(const SingleThreadedProcess&) = delete;
  SingleThreadedProcess& operator=(const SingleThreadedProcess&) = delete;

 private:
  int before_;
};

using Square = Eigen::MatrixXd;

// dense' dense for dense [rows, width].
Square gram(std::span<const float> dense, int64_t width) {
  const int64_t rows = static_cast<int64_t>(dense.size()) / width;
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  constexpr int64_t kAtOnce = 8;  // partial results in memory
  const auto cells = static_cast<size_t>(width * width);
  Square sum = Square::Zero(width, width);
  std::vector<std::vector<float>> partial(kAtOnce, std::vector<float>(cells));
  for (int64_t first = 0; first < blocks; first += kAtOnce) {
    const int64_t many = std::min(kAtOnce, blocks - first);
    parallel_chunks(many, 1, [&](int64_t block, int64_t, int) {
      const SingleThreadedBlas scope;
      const int64_t begin = (first + block) * kBlockRows;
      const int64_t count = std::min(kBlockRows, rows - begin);
      cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, static_cast<int>(width),
                  static_cast<int>(count), 1.0F, dense.data() + begin * width,
                  static_cast<int>(width), 0.0F, partial[static_cast<size_t>(block)].data(),
                  static_cast<int>(width));
    });
    for (int64_t block = 0; block < many; ++block) {
      const float* part = partial[static_cast<size_t>(block)].data();
      for (int64_t row = 0; row < width; ++row)
        for (int64_t column = row; column < width; ++column)
          sum(row, column) += static_cast<double>(part[row * width + column]);
    }
  }
  return sum.selfadjointView<Eigen::Upper>();
}

// dense [rows, width] * right [width, out_width].
std::vector<float> times(std::span<const float> dense, int64_t width, const Square& right) {
  const int64_t rows = static_cast<int64_t>(dense.size()) / width;
  const int64_t out_width = right.cols();
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> factor =
      right.cast<float>();
  std::vector<float> out(static_cast<size_t>(rows * out_width));
  parallel_chunks(rows, kBlockRows, [&](int64_t begin, int64_t end, int) {
    const SingleThreadedBlas scope;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(end - begin),
                static_cast<int>(out_width), static_cast<int>(width), 1.0F,
                dense.data() + begin * width, static_cast<int>(width), factor.data(),
                static_cast<int>(out_width), 0.0F, out.data() + begin * out_width,
                static_cast<int>(out_width));
  });
  return out;
}

// Eigenvectors of a Gram matrix, largest eigenvalue first, without the directions that are only
// rounding errors of single precision.
struct Eigenpairs {
  Eigen::VectorXd values;
  Square vectors;
};

Eigenpairs significant_eigenpairs(const Square& symmetric) {
  constexpr double kNoise = 3e-6;
  const Eigen::SelfAdjointEigenSolver<Square> solver(symmetric);
  const Eigen::VectorXd values = solver.eigenvalues().reverse();
  Eigen::Index rank = 0;
  while (rank < values.size() && values(rank) > kNoise * values(0))
    ++rank;
  return {values.head(rank), solver.eigenvectors().rowwise().reverse().leftCols(rank)};
}

// An orthonormal basis of the columns' span; `width` becomes its size.
std::vector<float> orthonormal(std::vector<float> basis, int64_t& width) {
  constexpr int kPasses = 2;  // the second one repairs what single precision left
  for (int pass = 0; pass < kPasses && width > 0; ++pass) {
    const Eigenpairs pairs = significant_eigenpairs(gram(basis, width));
    const Square scaled = pairs.vectors * pairs.values.cwiseSqrt().cwiseInverse().asDiagonal();
    basis = times(basis, width, scaled);
    width = scaled.cols();
  }
  return basis;
}

std::vector<float> random_basis(int64_t rows, int64_t width, uint64_t seed) {
  Random random(seed, "text.lsa.basis");
  std::vector<float> basis(static_cast<size_t>(rows * width));
  for (float& value : basis)
    value = static_cast<float>(random.uniform(-1.0, 1.0));
  return basis;
}

// The eigenvector's sign is arbitrary: the largest entry of each column becomes positive.
void fix_signs(std::vector<float>& basis, int64_t width) {
  std::vector<float> largest(static_cast<size_t>(width), 0.0F);
  for (size_t at = 0; at < basis.size(); ++at) {
    float& best = largest[at % static_cast<size_t>(width)];
    if (std::abs(basis[at]) > std::abs(best)) best = basis[at];
  }
  for (size_t at = 0; at < basis.size(); ++at)
    if (largest[at % static_cast<size_t>(width)] < 0.0F) basis[at] = -basis[at];
}

// Columns [first, first + kTileWidth) of dense [rows, width] as rows of kTileWidth, zero beyond.
void copy_tile(std::span<const float> dense, int64_t width, int64_t first, float* tile) {
  const int64_t rows = static_cast<int64_t>(dense.size()) / width;
  const int64_t count = std::min(kTileWidth, width - first);
  parallel_for(rows, kBlockRows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* to = tile + row * kTileWidth;
      std::copy_n(dense.data() + row * width + first, count, to);
      std::fill(to + count, to + kTileWidth, 0.0F);
    }
  });
}

}  // namespace

SparseMatrix SparseMatrix::transposed() const {
  SparseMatrix result;
  result.columns = rows();
  result.offsets.assign(static_cast<size_t>(columns) + 1, 0);
  result.entries.resize(entries.size());
  for (const SparseEntry& entry : entries)
    ++result.offsets[static_cast<size_t>(entry.column) + 1];
  for (size_t column = 0; column < static_cast<size_t>(columns); ++column)
    result.offsets[column + 1] += result.offsets[column];
  std::vector<int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  for (int64_t row = 0; row < rows(); ++row) {
    for (int64_t at = offsets[static_cast<size_t>(row)]; at < offsets[static_cast<size_t>(row) + 1];
         ++at) {
      const SparseEntry& entry = entries[static_cast<size_t>(at)];
      const int64_t place = next[static_cast<size_t>(entry.column)]++;
      result.entries[static_cast<size_t>(place)] = {static_cast<int32_t>(row), entry.value};
    }
  }
  return result;
}

// Tile by tile, so that the dense rows at hand stay in the cache.
std::vector<float> multiply(const SparseMatrix& sparse, std::span<const float> dense,
                            int64_t width) {
  constexpr int64_t kRowsAtOnce = 512;
  constexpr std::align_val_t kCacheLine{64};
  const auto release = [=](float* memory) { operator delete[](memory, kCacheLine); };
  const auto cells = static_cast<size_t>(sparse.columns * kTileWidth);
  const std::unique_ptr<float[], decltype(release)> tile(new (kCacheLine) float[cells], release);
  std::vector<float> out(static_cast<size_t>(sparse.rows() * width));
  for (int64_t first = 0; first < width; first += kTileWidth) {
    const int64_t count = std::min(kTileWidth, width - first);
    copy_tile(dense, width, first, tile.get());
    parallel_chunks(sparse.rows(), kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
      thread_local std::vector<float> result(static_cast<size_t>(kRowsAtOnce * kTileWidth));
      accumulate_tile(sparse.entries.data(), sparse.offsets.data() + begin, end - begin, tile.get(),
                      result.data(), kTileWidth);
      for (int64_t row = begin; row < end; ++row)
        std::copy_n(result.data() + (row - begin) * kTileWidth, count,
                    out.data() + row * width + first);
    });
  }
  return out;
}

Svd truncated_svd(const SparseMatrix& matrix, const SvdOptions& options) {
  const SingleThreadedProcess scope;
  const SparseMatrix transposed = matrix.transposed();
  int64_t width = std::min({options.width + options.oversampling, matrix.columns, matrix.rows()});
  std::vector<float> basis =  // [columns, width], orthonormal
      orthonormal(random_basis(matrix.columns, width, options.seed), width);
  for (int64_t round = 0; round < options.iterations && width > 0; ++round) {
    const std::vector<float> image = multiply(matrix, basis, width);  // [rows, width]
    const Eigenpairs pairs = significant_eigenpairs(gram(image, width));
    // Dividing by the eigenvalues keeps the columns at a length near 1.
    const Square balance = pairs.vectors * pairs.values.cwiseInverse().asDiagonal();
    basis = times(multiply(transposed, image, width), width, balance);
    width = balance.cols();
    basis = orthonormal(std::move(basis), width);
  }
  Svd svd;
  svd.singular.assign(static_cast<size_t>(options.width), 0.0F);
  svd.right.assign(static_cast<size_t>(matrix.columns * options.width), 0.0F);
  if (width == 0) return svd;
  const Eigenpairs pairs = significant_eigenpairs(gram(multiply(matrix, basis, width), width));
  svd.rank = std::min<int64_t>(options.width, pairs.vectors.cols());
  std::vector<float> right = times(basis, width, pairs.vectors.leftCols(svd.rank));
  fix_signs(right, svd.rank);
  for (int64_t row = 0; row < matrix.columns; ++row)
    std::copy_n(right.data() + row * svd.rank, svd.rank, svd.right.data() + row * options.width);
  for (int64_t column = 0; column < svd.rank; ++column)
    svd.singular[static_cast<size_t>(column)] = static_cast<float>(std::sqrt(pairs.values(column)));
  return svd;
}

}  // namespace llmcf::text
