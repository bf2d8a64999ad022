#include "retrieval/cells.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/impl/FaissException.h>
#include <fmt/format.h>

#include "core/error.h"
#include "retrieval/omp_threads.h"

namespace llmcf::retrieval {

namespace {

constexpr int kSampledPerCell = 64;
constexpr int kRounds = 10;
constexpr int64_t kBlock = 16384;  // rows assigned at once

}  // namespace

Cells make_cells(std::span<const float> rows, int64_t width, int64_t cells, uint64_t seed) {
  const auto count = static_cast<int64_t>(rows.size()) / width;
  if (cells < 1 || cells > count)
    throw Error(fmt::format("cells: {} of {} vectors, expected 1 to {}", cells, count, count));
  Cells result{
      .width = width, .centres = {}, .of = std::vector<int32_t>(static_cast<size_t>(count))};
  const OmpThreads threads;
  try {
    faiss::ClusteringParameters options;
    options.niter = kRounds;
    options.seed = static_cast<int>(seed);
    options.min_points_per_centroid = 1;  // no warning on standard error
    options.max_points_per_centroid = kSampledPerCell;
    faiss::Clustering clustering(static_cast<int>(width), static_cast<int>(cells), options);
    faiss::IndexFlatL2 centres(width);
    clustering.train(count, rows.data(), centres);
    result.centres = clustering.centroids;
    std::vector<float> distance(kBlock);
    std::vector<faiss::Index::idx_t> nearest(kBlock);
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = std::min(kBlock, count - begin);
      centres.search(size, rows.data() + begin * width, 1, distance.data(), nearest.data());
      for (int64_t i = 0; i < size; ++i)
        result.of[static_cast<size_t>(begin + i)] =
            static_cast<int32_t>(std::max<faiss::Index::idx_t>(0, nearest[static_cast<size_t>(i)]));
    }
  } catch (const faiss::FaissException& error) {
    throw Error(fmt::format("cells of {} vectors: {}", count, error.what()));
  }
  return result;
}

}  // namespace llmcf::retrieval
