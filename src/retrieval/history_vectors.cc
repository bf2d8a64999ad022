// History means: one running sum per user, or the last few rows of each history.
#include "retrieval/history_vectors.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/kernels.h"

namespace llmcf::retrieval {

namespace {

constexpr int64_t kGrain = 64;  // rows or users per piece of parallel work

float* row_of(std::span<float> matrix, int64_t row, int64_t width) {
  return matrix.data() + row * width;
}

void add_item(const Texts& texts, int32_t item, std::vector<float>& sum) {
  kernels::add_to(sum.data(), texts.row(item).data(), texts.width);
}

// `sum` holds `count` items.
void write_mean(const std::vector<float>& sum, int64_t count, float* out) {
  const float factor = count == 0 ? 0.0F : 1.0F / static_cast<float>(count);
  kernels::scale_to(out, sum.data(), factor, static_cast<int64_t>(sum.size()));
}

void mean_of_last(const HistoryLookup& histories, const Texts& texts,
                  std::span<const int32_t> users, std::span<const int32_t> positions, int64_t limit,
                  std::span<float> out) {
  parallel_for(static_cast<int64_t>(users.size()), kGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> sum(static_cast<size_t>(texts.width));
    for (int64_t row = begin; row < end; ++row) {
      const auto index = static_cast<size_t>(row);
      std::span<const int32_t> items = histories(users[index], positions[index]);
      if (static_cast<int64_t>(items.size()) > limit)
        items = items.last(static_cast<size_t>(limit));
      std::fill(sum.begin(), sum.end(), 0.0F);
      for (const int32_t item : items)
        add_item(texts, item, sum);
      write_mean(sum, static_cast<int64_t>(items.size()), row_of(out, row, texts.width));
    }
  });
}

// Rows ordered by (user, position), and where each user's rows begin.
struct ByUser {
  std::vector<int64_t> order;
  std::vector<size_t> starts;  // one more than there are users
};

ByUser group_by_user(std::span<const int32_t> users, std::span<const int32_t> positions) {
  ByUser groups;
  groups.order.resize(users.size());
  std::iota(groups.order.begin(), groups.order.end(), 0);
  std::sort(groups.order.begin(), groups.order.end(), [&](int64_t left, int64_t right) {
    const auto l = static_cast<size_t>(left);
    const auto r = static_cast<size_t>(right);
    return users[l] != users[r] ? users[l] < users[r] : positions[l] < positions[r];
  });
  for (size_t i = 0; i < groups.order.size(); ++i) {
    const auto user_at = [&](size_t at) { return users[static_cast<size_t>(groups.order[at])]; };
    if (i == 0 || user_at(i) != user_at(i - 1)) groups.starts.push_back(i);
  }
  groups.starts.push_back(groups.order.size());
  return groups;
}

void mean_of_all(const HistoryLookup& histories, const Texts& texts, std::span<const int32_t> users,
                 std::span<const int32_t> positions, std::span<float> out) {
  const ByUser groups = group_by_user(users, positions);
  const auto count = static_cast<int64_t>(groups.starts.size()) - 1;
  parallel_chunks(count, kGrain, [&](int64_t begin, int64_t end, int) {
    std::vector<float> sum(static_cast<size_t>(texts.width));
    for (auto group = static_cast<size_t>(begin); group < static_cast<size_t>(end); ++group) {
      std::fill(sum.begin(), sum.end(), 0.0F);
      size_t added = 0;
      for (size_t i = groups.starts[group]; i < groups.starts[group + 1]; ++i) {
        const auto row = static_cast<size_t>(groups.order[i]);
        const std::span<const int32_t> items = histories(users[row], positions[row]);
        for (; added < items.size(); ++added)
          add_item(texts, items[added], sum);
        write_mean(sum, static_cast<int64_t>(added), row_of(out, groups.order[i], texts.width));
      }
    }
  });
}

}  // namespace

void history_mean(const HistoryLookup& histories, const Texts& texts,
                  std::span<const int32_t> users, std::span<const int32_t> positions, int64_t limit,
                  std::span<float> out) {
  if (users.size() != positions.size() ||
      out.size() != users.size() * static_cast<size_t>(texts.width)) {
    throw Error(fmt::format(
        "history vectors: {} users, {} positions and room for {} floats do not fit width {}",
        users.size(), positions.size(), out.size(), texts.width));
  }
  if (users.empty()) return;
  if (limit > 0) {
    mean_of_last(histories, texts, users, positions, limit, out);
  } else {
    mean_of_all(histories, texts, users, positions, out);
  }
}

void scale_rows_to_unit(std::span<float> matrix, int64_t width) {
  const int64_t rows = width == 0 ? 0 : static_cast<int64_t>(matrix.size()) / width;
  parallel_for(rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = row_of(matrix, i, width);
      const float square = kernels::dot(row, row, width);
      if (square > 0) kernels::scale_to(row, row, 1.0F / std::sqrt(square), width);
    }
  });
}

}  // namespace llmcf::retrieval
