// Sorting and packing of the pool, and the checks of what comes in.
#include "retrieval/packed_pool.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/kernels.h"

namespace llmcf::retrieval {

namespace {

int64_t round_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

// out[panel][k][lane] = source[indices[panel * kLanes + lane]][k]
template <int64_t kLanes>
void pack(const float* source, std::span<const int32_t> indices, int64_t width, float* out) {
  const auto count = static_cast<int64_t>(indices.size());
  for (int64_t i = 0; i < round_up(count, kLanes); ++i) {
    float* lane = out + i / kLanes * kLanes * width + i % kLanes;
    const int64_t row = i < count ? indices[static_cast<size_t>(i)] : -1;
    const float* vector = row < 0 ? nullptr : source + row * width;
    for (int64_t k = 0; k < width; ++k)
      lane[k * kLanes] = row < 0 ? 0.0F : vector[k];
  }
}

AlignedFloats pack_group(const float* source, std::span<const int32_t> indices, int64_t width) {
  AlignedFloats packed(padded_columns(static_cast<int64_t>(indices.size())) * width);
  const auto count = static_cast<int64_t>(indices.size());
  parallel_chunks(count, 64 * kernels::kPanelColumns, [&](int64_t begin, int64_t end, int) {
    pack_columns(source,
                 indices.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
                 width, packed.data() + begin * width);
  });
  return packed;
}

LabelGroup make_group(const Pool& pool, bool positive, int64_t wanted) {
  LabelGroup group;
  group.wanted = wanted;
  for (size_t id = 0; id < pool.user.size(); ++id) {
    if ((pool.label[id] >= 0.5F) == positive) group.example.push_back(static_cast<int32_t>(id));
  }
  std::stable_sort(group.example.begin(), group.example.end(), [&](int32_t left, int32_t right) {
    return pool.time[static_cast<size_t>(left)] > pool.time[static_cast<size_t>(right)];
  });
  for (const int32_t id : group.example) {
    const auto index = static_cast<size_t>(id);
    group.user.push_back(pool.user[index]);
    group.position.push_back(pool.position[index]);
    group.time.push_back(pool.time[index]);
  }
  return group;
}

void check_length(std::string_view what, std::string_view column, size_t found, size_t expected) {
  if (found != expected) {
    throw Error(fmt::format("retrieval: {} has {} values of {} but {} of user", what, found, column,
                            expected));
  }
}

void check_range(std::string_view what, std::string_view column, std::span<const int32_t> values,
                 int64_t end) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= end) {
      throw Error(fmt::format("retrieval: {} {} has {} {}, outside [0, {})", what, i, column,
                              values[i], end));
    }
  }
}

constexpr int64_t kAnyId = int64_t{std::numeric_limits<int32_t>::max()} + 1;

}  // namespace

AlignedFloats::AlignedFloats(int64_t size)
    : data_(hwy::AllocateAligned<float>(static_cast<size_t>(std::max<int64_t>(size, 1)))) {
  if (!data_) throw std::bad_alloc();
}

void pack_rows(const float* source, std::span<const int32_t> indices, int64_t width, float* out) {
  pack<kernels::kPanelRows>(source, indices, width, out);
}

void pack_columns(const float* source, std::span<const int32_t> indices, int64_t width,
                  float* out) {
  pack<kernels::kPanelColumns>(source, indices, width, out);
}

int64_t padded_rows(int64_t rows) {
  return round_up(rows, kernels::kPanelRows);
}
int64_t padded_columns(int64_t columns) {
  return round_up(columns, kernels::kPanelColumns);
}

int64_t LabelGroup::first_before(int64_t moment) const {
  return std::partition_point(time.begin(), time.end(),
                              [moment](int64_t value) { return value >= moment; }) -
         time.begin();
}

PackedPool::PackedPool(const Pool& pool, const Texts& texts, const HistoryLookup& histories,
                       const RetrievalOptions& options)
    : examples(pool.size()), item(pool.item.begin(), pool.item.end()) {
  check_options(options);
  check_pool(pool, texts);
  history.resize(pool.user.size() * static_cast<size_t>(texts.width));
  history_mean(histories, texts, pool.user, pool.position, 0, history);
  if (options.normalize) scale_rows_to_unit(history, texts.width);
  for (const bool positive : {true, false}) {
    const int64_t wanted = positive ? options.wanted_positives() : options.wanted_negatives();
    if (wanted == 0) continue;
    LabelGroup group = make_group(pool, positive, wanted);
    if (options.history_weight > 0)
      group.history = pack_group(history.data(), group.example, texts.width);
    if (options.history_weight < 1) {
      std::vector<int32_t> items;
      for (const int32_t id : group.example)
        items.push_back(item[static_cast<size_t>(id)]);
      group.target = pack_group(texts.item_text.data(), items, texts.width);
    }
    groups.push_back(std::move(group));
  }
}

void check_pool(const Pool& pool, const Texts& texts) {
  if (texts.width < 1 || texts.item_text.size() % static_cast<size_t>(texts.width) != 0) {
    throw Error(fmt::format("retrieval: {} floats of item text are no matrix of width {}",
                            texts.item_text.size(), texts.width));
  }
  const size_t size = pool.user.size();
  check_length("the pool", "item", pool.item.size(), size);
  check_length("the pool", "position", pool.position.size(), size);
  check_length("the pool", "label", pool.label.size(), size);
  check_length("the pool", "time", pool.time.size(), size);
  if (pool.size() >= kAnyId) throw Error("retrieval: the pool has more than 2^31 - 1 examples");
  check_range("example", "item", pool.item, texts.rows());
  check_range("example", "user", pool.user, kAnyId);
  check_range("example", "position", pool.position, kAnyId);
}

void check_queries(const Queries& queries, const Texts& texts) {
  const size_t size = queries.user.size();
  check_length("the query set", "item", queries.item.size(), size);
  check_length("the query set", "position", queries.position.size(), size);
  check_length("the query set", "time", queries.time.size(), size);
  check_range("query", "item", queries.item, texts.rows());
  check_range("query", "user", queries.user, kAnyId);
  check_range("query", "position", queries.position, kAnyId);
}

void check_options(const RetrievalOptions& options) {
  const auto refuse = [](std::string_view key, auto value, std::string_view range) {
    throw Error(fmt::format("retrieve.{} is {}: expected {}", key, value, range));
  };
  if (options.k < 1 || options.k > 1024) refuse("k", options.k, "1 to 1024");
  if (options.positives < -1 || options.positives > options.k)
    refuse("positives", options.positives, fmt::format("0 to k = {}, or -1 for half", options.k));
  if (!(options.history_weight >= 0 && options.history_weight <= 1))
    refuse("history_weight", options.history_weight, "0 to 1");
}

}  // namespace llmcf::retrieval
