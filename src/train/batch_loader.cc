// A ring of batches between one builder thread and one reader.
#include "train/batch_loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "train/batch_builder.h"

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
      : builder(features), split(of), order(std::move(rows)), options(load) {
    LLMCF_ASSERT(options.batch_size > 0 && options.depth >= 0);
    if (order.empty()) {
      order.resize(static_cast<size_t>(features.rows(split).size()));
      std::iota(order.begin(), order.end(), int64_t{0});
    }
    total = (static_cast<int64_t>(order.size()) + options.batch_size - 1) / options.batch_size;
    // One more than wait: the batch the reader holds.
    ring.resize(static_cast<size_t>(options.depth) + 1);
    if (options.depth > 0) thread = std::thread([this] { work(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(guard);
      stopped = true;
    }
    room.notify_one();
    if (thread.joinable()) thread.join();
  }

  std::span<const int64_t> rows_of(int64_t index) const {
    const auto begin = static_cast<size_t>(index * options.batch_size);
    const size_t count = std::min(static_cast<size_t>(options.batch_size), order.size() - begin);
    return std::span(order).subspan(begin, count);
  }

  models::Batch& place(int64_t index) { return ring[static_cast<size_t>(index) % ring.size()]; }

  void work() {
    try {
      for (int64_t index = 0; index < total; ++index) {
        {
          std::unique_lock lock(guard);
          // Batch `given - 1` is the reader's until it asks for the next one.
          room.wait(lock, [&] { return stopped || index < given + options.depth; });
          if (stopped) return;
        }
        builder.build(split, rows_of(index), place(index));
        const std::lock_guard lock(guard);
        built = index + 1;
        ready.notify_one();
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
      ready.notify_one();
    }
  }

  const models::Batch* next() {
    if (given >= total) return nullptr;
    if (options.depth == 0) {
      builder.build(split, rows_of(given), place(given));
      return &place(given++);
    }
    std::unique_lock lock(guard);
    ready.wait(lock, [&] { return built > given || failure; });
    if (built <= given) std::rethrow_exception(failure);
    const models::Batch* batch = &place(given++);
    room.notify_one();
    return batch;
  }

  BatchBuilder builder;
  data::Split split;
  std::vector<int64_t> order;
  LoadOptions options;
  int64_t total = 0;
  std::vector<models::Batch> ring;

  std::mutex guard;  // of everything below but the thread
  std::condition_variable room;
  std::condition_variable ready;
  int64_t built = 0;
  int64_t given = 0;
  bool stopped = false;
  std::exception_ptr failure;
  std::thread thread;
};

BatchLoader::BatchLoader(const FeatureStore& store, data::Split split, std::vector<int64_t> order,
                         const LoadOptions& options)
    : impl_(std::make_unique<Impl>(store, split, std::move(order), options)) {}

BatchLoader::~BatchLoader() = default;

const models::Batch* BatchLoader::next() {
  return impl_->next();
}

std::span<const int64_t> BatchLoader::batch_rows() const {
  LLMCF_ASSERT(impl_->given > 0);
  return impl_->rows_of(impl_->given - 1);
}

int64_t BatchLoader::num_batches() const {
  return impl_->total;
}

}  // namespace llmcf::train
