#include "train/batch_loader.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/error.h"
#include "core/random.h"
#include "train/batch_builder.h"
#include "train/prefetcher.h"

namespace llmcf::train {

std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random(seed, "epoch " + std::to_string(epoch)).shuffle(order);
  return order;
}

struct BatchLoader::Impl {
  Impl(const FeatureStore& features, data::Split of, std::vector<int64_t> rows,
       const LoadOptions& load)
      : builder(features),
        order(rows.empty() ? every_row(features.rows(of).size()) : std::move(rows)),
        batch_size(load.batch_size),
        batches((static_cast<int64_t>(order.size()) + load.batch_size - 1) / load.batch_size,
                load.depth, [this, of](int64_t index, models::Batch& batch) {
                  builder.build(of, rows_of(index), batch);
                }) {}

  static std::vector<int64_t> every_row(int64_t count) {
    std::vector<int64_t> rows(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), int64_t{0});
    return rows;
  }

  std::span<const int64_t> rows_of(int64_t index) const {
    const auto begin = static_cast<size_t>(index * batch_size);
    const size_t count = std::min(static_cast<size_t>(batch_size), order.size() - begin);
    return std::span(order).subspan(begin, count);
  }

  BatchBuilder builder;
  std::vector<int64_t> order;
  int64_t batch_size;
  Prefetcher<models::Batch> batches;
};

BatchLoader::BatchLoader(const FeatureStore& store, data::Split split, std::vector<int64_t> order,
                         const LoadOptions& options)
    : impl_(std::make_unique<Impl>(store, split, std::move(order), options)) {}

BatchLoader::~BatchLoader() = default;

const models::Batch* BatchLoader::next() {
  return impl_->batches.next();
}

std::span<const int64_t> BatchLoader::batch_rows() const {
  LLMCF_ASSERT(impl_->batches.given() > 0);
  return impl_->rows_of(impl_->batches.given() - 1);
}

int64_t BatchLoader::num_batches() const {
  return impl_->batches.total();
}

}  // namespace llmcf::train
