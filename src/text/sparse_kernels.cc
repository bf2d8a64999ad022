#include "text/sparse_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "text/sparse_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace llmcf::text::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void accumulate_rows(const SparseEntry* entries, int64_t count, const float* dense, int64_t width,
                     float* out) {
  const hn::ScalableTag<float> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  std::fill_n(out, width, 0.0F);
  for (int64_t at = 0; at < count; ++at) {
    const float* row = dense + entries[at].column * width;
    const float value = entries[at].value;
    const auto factor = hn::Set(tag, value);
    int64_t column = 0;
    for (; column + lanes <= width; column += lanes)
      hn::StoreU(hn::MulAdd(factor, hn::LoadU(tag, row + column), hn::LoadU(tag, out + column)),
                 tag, out + column);
    for (; column < width; ++column)
      out[column] += value * row[column];
  }
}

// Sums stay in registers; the dense rows that come next are fetched ahead.
void accumulate_tile(const SparseEntry* entries, const int64_t* offsets, int64_t rows,
                     const float* dense, float* out, int64_t out_stride) {
  const hn::CappedTag<float, 16> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  constexpr int64_t kAhead = 8;
  const int64_t last = offsets[rows];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t part = 0; part < kTileWidth; part += 4 * lanes) {
      auto sum0 = hn::Zero(tag);
      auto sum1 = hn::Zero(tag);
      auto sum2 = hn::Zero(tag);
      auto sum3 = hn::Zero(tag);
      for (int64_t at = offsets[row]; at < offsets[row + 1]; ++at) {
        const float* coming = dense + entries[std::min(at + kAhead, last - 1)].column * kTileWidth;
        for (int64_t line = 0; line < 4 * lanes; line += 16)
          __builtin_prefetch(coming + part + line);
        const float* from = dense + entries[at].column * kTileWidth + part;
        const auto factor = hn::Set(tag, entries[at].value);
        sum0 = hn::MulAdd(factor, hn::LoadU(tag, from), sum0);
        sum1 = hn::MulAdd(factor, hn::LoadU(tag, from + lanes), sum1);
        sum2 = hn::MulAdd(factor, hn::LoadU(tag, from + 2 * lanes), sum2);
        sum3 = hn::MulAdd(factor, hn::LoadU(tag, from + 3 * lanes), sum3);
      }
      float* to = out + row * out_stride + part;
      hn::StoreU(sum0, tag, to);
      hn::StoreU(sum1, tag, to + lanes);
      hn::StoreU(sum2, tag, to + 2 * lanes);
      hn::StoreU(sum3, tag, to + 3 * lanes);
    }
  }
}

}  // namespace llmcf::text::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace llmcf::text {

HWY_EXPORT(accumulate_rows);
HWY_EXPORT(accumulate_tile);

void accumulate_rows(const SparseEntry* entries, int64_t count, const float* dense, int64_t width,
                     float* out) {
  HWY_DYNAMIC_DISPATCH(accumulate_rows)(entries, count, dense, width, out);
}

void accumulate_tile(const SparseEntry* entries, const int64_t* offsets, int64_t rows,
                     const float* dense, float* out, int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(accumulate_tile)(entries, offsets, rows, dense, out, out_stride);
}

}  // namespace llmcf::text
#endif
