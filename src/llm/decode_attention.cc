#include "llm/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/threads.h"

namespace llmcf::llm {

namespace {

// Compiled with sums in any order (CMakeLists.txt): the order is fixed once it is compiled.
float dot(const float* a, const float* b, int64_t width) {
  float sum = 0;
  for (int64_t i = 0; i < width; ++i)
    sum += a[i] * b[i];
  return sum;
}

// One query over positions [first, last].
void attend(const float* query, const float* keys, const float* values, int64_t first, int64_t last,
            int64_t width, std::vector<float>& weights, float* out) {
  const float scale = 1 / std::sqrt(static_cast<float>(width));
  const auto count = static_cast<size_t>(last - first + 1);
  weights.resize(count);
  float largest = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < count; ++i) {
    weights[i] = scale * dot(query, keys + (first + static_cast<int64_t>(i)) * width, width);
    largest = std::max(largest, weights[i]);
  }
  float sum = 0;
  for (float& weight : weights) {
    weight = std::exp(weight - largest);
    sum += weight;
  }
  std::fill_n(out, width, 0.0F);
  for (size_t i = 0; i < count; ++i) {
    const float weight = weights[i] / sum;
    const float* value = values + (first + static_cast<int64_t>(i)) * width;
    for (int64_t j = 0; j < width; ++j)
      out[j] += weight * value[j];
  }
}

}  // namespace

void attend_decoding(const DecodeAttention& task) {
  parallel_for(task.slots * task.kv_heads, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> weights;
    for (int64_t head = begin; head < end; ++head) {
      const int64_t slot = head / task.kv_heads;
      const int64_t last = task.last[slot];
      const int64_t first = task.window > 0 ? std::max<int64_t>(0, last - task.window + 1) : 0;
      const int64_t store = head * task.capacity * task.width;
      for (int64_t p = 0; p < task.per_head; ++p) {
        const int64_t row = (head * task.per_head + p) * task.width;
        attend(task.queries + row, task.keys + store, task.values + store, first, last, task.width,
               weights, task.out + row);
      }
    }
  });
}

}  // namespace llmcf::llm
