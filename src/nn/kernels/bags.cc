#include "nn/kernels/bags.h"

#include <algorithm>

#include "nn/kernels/simd.h"

namespace llmcf::nn::kernels {

namespace {

inline float weight_of(const BagField& field, int32_t index) {
  return field.weights == nullptr ? 1.0F : field.weights[index];
}

inline float share_of(int32_t count) {
  return 1.0F / (static_cast<float>(count) + 1e-9F);
}

}  // namespace

LLMCF_SIMD void pool_bags(const BagField* fields, int64_t field_count, const SlabView* slabs,
                          int64_t d, float* values, int64_t begin, int64_t end) {
  for (int64_t s = begin; s < end; ++s) {
    for (int64_t f = 0; f < field_count; ++f) {
      const BagField& field = fields[f];
      const SlabView& slab = slabs[field.table];
      float* __restrict out = values + (s * field_count + f) * d;
      const int32_t first = field.offsets[s], last = field.offsets[s + 1];
      std::fill_n(out, d, 0.0F);
      for (int32_t i = first; i < last; ++i) {
        const float* __restrict row = slab.values + field.ids[i] * slab.width;
        const float weight = weight_of(field, i);
        for (int64_t c = 0; c < d; ++c)
          out[c] += weight * row[c];
      }
      if (last - first > 1) {
        const float share = share_of(last - first);
        for (int64_t c = 0; c < d; ++c)
          out[c] *= share;
      }
    }
  }
}

void pool_first_order(const BagField* fields, int64_t field_count, const SlabView* slabs, int64_t d,
                      float* first_order, int64_t begin, int64_t end) {
  for (int64_t s = begin; s < end; ++s) {
    float total = 0;
    for (int64_t f = 0; f < field_count; ++f) {
      const BagField& field = fields[f];
      if (!field.first_order) continue;
      const SlabView& slab = slabs[field.table];
      const int32_t first = field.offsets[s], last = field.offsets[s + 1];
      float sum = 0;
      for (int32_t i = first; i < last; ++i)
        sum += weight_of(field, i) * slab.values[field.ids[i] * slab.width + d];
      if (last > first) total += sum * share_of(last - first);
    }
    first_order[s] = total;
  }
}

LLMCF_SIMD void pool_bags_backward(const BagField& field, const SlabView& slab,
                                   const float* upstream, int64_t stride, int64_t column_begin,
                                   int64_t column_end, int64_t begin, int64_t end,
                                   float* slab_gradient) {
  const int64_t columns = column_end - column_begin;
  for (int64_t s = begin; s < end; ++s) {
    const int32_t first = field.offsets[s], last = field.offsets[s + 1];
    if (first == last) continue;
    const float* __restrict up = upstream + s * stride + column_begin;
    const float share = last - first > 1 ? share_of(last - first) : 1.0F;
    for (int32_t i = first; i < last; ++i) {
      if (field.ids[i] == slab.frozen_row) continue;
      float* __restrict down = slab_gradient + field.ids[i] * slab.width + column_begin;
      const float factor = share * weight_of(field, i);
      for (int64_t c = 0; c < columns; ++c)
        down[c] += factor * up[c];
    }
  }
}

}  // namespace llmcf::nn::kernels
