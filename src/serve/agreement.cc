#include "serve/agreement.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "serve/service_view.h"

namespace llmcf::serve {

namespace {

constexpr size_t kOverlap = 10;

// Pairs out of order, by a merge sort that leaves `values` sorted.
int64_t inversions(std::span<int32_t> values, std::vector<int32_t>& room) {
  if (values.size() < 2) return 0;
  const size_t half = values.size() / 2;
  const auto left = values.first(half), right = values.subspan(half);
  int64_t count = inversions(left, room) + inversions(right, room);
  room.clear();
  size_t i = 0;
  for (const int32_t value : right) {
    while (i < left.size() && left[i] < value)
      room.push_back(left[i++]);
    count += static_cast<int64_t>(left.size() - i);
    room.push_back(value);
  }
  room.insert(room.end(), left.begin() + static_cast<int64_t>(i), left.end());
  std::copy(room.begin(), room.end(), values.begin());
  return count;
}

}  // namespace

Agreement agreement_of(std::span<const float> left, std::span<const float> right) {
  LLMCF_ASSERT(left.size() == right.size());
  Agreement result;
  const size_t count = left.size();
  if (count == 0) return result;
  double sum = 0;
  for (size_t i = 0; i < count; ++i)
    sum += std::abs(probability(left[i]) - probability(right[i]));
  result.difference = sum / static_cast<double>(count);
  const std::vector<int32_t> by_left = best_first(left, count), by_right = best_first(right, count);
  std::vector<int32_t> place(count), order, room;
  for (size_t i = 0; i < count; ++i)
    place[static_cast<size_t>(by_right[i])] = static_cast<int32_t>(i);
  for (const int32_t candidate : by_left)
    order.push_back(place[static_cast<size_t>(candidate)]);
  const size_t best = std::min(kOverlap, count);
  const auto shared = std::count_if(order.begin(), order.begin() + static_cast<int64_t>(best),
                                    [best](int32_t at) { return static_cast<size_t>(at) < best; });
  result.overlap = static_cast<double>(shared) / static_cast<double>(best);
  if (count < 2) return result;
  const auto pairs = static_cast<double>(count) * static_cast<double>(count - 1) / 2;
  result.tau = 1 - 2 * static_cast<double>(inversions(order, room)) / pairs;
  return result;
}

}  // namespace llmcf::serve
