#include "retrieval/approximate_items.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/FaissException.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/omp_threads.h"

namespace llmcf::retrieval {

namespace {

constexpr int64_t kBlockQueries = 1024;  // bounds the memory of proposals
constexpr int64_t kItemsPerList = 32;    // at least, where the number of cells is ours to choose
// k-means need not be perfect, only quick: on a million items these take a tenth of faiss' own.
constexpr int kSampledPerList = 64;
constexpr int kRounds = 10;

int64_t in_range(const char* name, int64_t value, int64_t lowest, int64_t highest) {
  if (value < lowest || value > highest)
    throw Error(fmt::format("approximate index: {} is {}, expected {} to {}", name, value, lowest,
                            highest));
  return value;
}

int64_t wanted_lists(int64_t items, int64_t lists) {
  if (lists != 0) return in_range("lists", lists, 1, items);
  const auto by_size = static_cast<int64_t>(2 * std::sqrt(static_cast<double>(items)));
  return std::clamp<int64_t>(items / kItemsPerList, 1, by_size);
}

}  // namespace

struct ApproximateItems::Proposer {
  Proposer(int64_t width, int64_t lists)
      : cells(width),
        index(&cells, static_cast<size_t>(width), static_cast<size_t>(lists),
              faiss::ScalarQuantizer::QT_8bit, faiss::METRIC_INNER_PRODUCT) {}
  faiss::IndexFlatIP cells;
  faiss::IndexIVFScalarQuantizer index;  // ids are the item's, less one
};

ApproximateItems::ApproximateItems(const ItemIndex& exact, const ApproximateOptions& options)
    : exact_(exact), surplus_(in_range("surplus", options.surplus, 1, int64_t{1} << 30)) {
  const int64_t items = exact.items();
  const int64_t lists = wanted_lists(items, options.lists);
  const OmpThreads threads;
  try {
    proposer_ = std::make_unique<Proposer>(exact.width(), lists);
    auto& index = proposer_->index;
    set_probes(options.probes == 0 ? std::max<int64_t>(1, lists / 32) : options.probes);
    index.cp.seed = static_cast<int>(options.seed);
    index.cp.niter = kRounds;
    index.cp.max_points_per_centroid = kSampledPerList;
    index.cp.min_points_per_centroid = 1;                           // no warning on standard error
    const float* vectors = exact.vectors().data() + exact.width();  // row 0 is no item
    index.train(items, vectors);
    index.add(items, vectors);
  } catch (const faiss::FaissException& error) {
    throw Error(fmt::format("approximate index of {} items: {}", items, error.what()));
  }
}

ApproximateItems::~ApproximateItems() = default;

int64_t ApproximateItems::lists() const {
  return static_cast<int64_t>(proposer_->index.nlist);
}
int64_t ApproximateItems::probes() const {
  return static_cast<int64_t>(proposer_->index.nprobe);
}

void ApproximateItems::set_probes(int64_t probes) {
  proposer_->index.nprobe = static_cast<size_t>(in_range("probes", probes, 1, lists()));
}

BestItems ApproximateItems::best(std::span<const float> queries, int64_t k,
                                 const SeenItems& seen) const {
  const int64_t D = exact_.width();
  const int64_t Q = exact_.count(queries);
  BestItems result(Q, k);
  const OmpThreads threads;
  for (int64_t first = 0; first < Q; first += kBlockQueries) {
    const int64_t count = std::min(kBlockQueries, Q - first);
    std::vector<std::vector<int32_t>> hidden(static_cast<size_t>(count));
    size_t most = 0;
    for (int64_t row = 0; seen && row < count; ++row) {
      auto& own = hidden[static_cast<size_t>(row)];
      own = distinct_items(seen(first + row));
      most = std::max(most, own.size());
    }
    const int64_t wanted = std::min(
        exact_.items(), std::min(k, exact_.items()) * surplus_ + static_cast<int64_t>(most));
    std::vector<float> unused(static_cast<size_t>(count * wanted));
    std::vector<faiss::Index::idx_t> proposed(static_cast<size_t>(count * wanted));
    proposer_->index.search(count, queries.data() + first * D, wanted, unused.data(),
                            proposed.data());
    parallel_for(count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        std::vector<std::pair<float, int32_t>> scored;
        const float* query = queries.data() + (first + row) * D;
        const auto& own = hidden[static_cast<size_t>(row)];
        for (int64_t i = row * wanted; i < (row + 1) * wanted; ++i) {
          const auto item = static_cast<int32_t>(proposed[static_cast<size_t>(i)] + 1);
          if (item == 0 || std::binary_search(own.begin(), own.end(), item)) continue;
          scored.emplace_back(-exact_.score(query, item), item);  // best first, ties by id
        }
        const auto kept = std::min(static_cast<size_t>(k), scored.size());
        std::partial_sort(scored.begin(), scored.begin() + static_cast<int64_t>(kept),
                          scored.end());
        for (size_t i = 0; i < kept; ++i) {
          const auto at = static_cast<size_t>((first + row) * k) + i;
          result.items[at] = scored[i].second;
          result.scores[at] = -scored[i].first;
        }
      }
    });
  }
  return result;
}

double recall(const BestItems& exact, const BestItems& other) {
  if (exact.k != other.k || exact.items.size() != other.items.size())
    throw Error("recall: the two are not lists of the same queries and k");
  int64_t wanted = 0, found = 0;
  for (size_t begin = 0; begin < exact.items.size(); begin += static_cast<size_t>(exact.k)) {
    const auto list = std::span(other.items).subspan(begin, static_cast<size_t>(exact.k));
    for (const int32_t item : std::span(exact.items).subspan(begin, list.size())) {
      if (item == 0) break;
      ++wanted;
      found += std::find(list.begin(), list.end(), item) != list.end();
    }
  }
  return wanted == 0 ? 1 : static_cast<double>(found) / static_cast<double>(wanted);
}

}  // namespace llmcf::retrieval
