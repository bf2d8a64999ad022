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
  constexpr int64_t kAhead = 4;
  std::fill_n(out, width, 0.0F);
  for (int64_t at = 0; at < count; ++at) {
    if (at + kAhead < count) {
      const float* coming = dense + entries[at + kAhead].column * width;
      for (int64_t line = 0; line < std::min<int64_t>(width, 64); line += 16)
        __builtin_prefetch(coming + line);
    }
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

}  // namespace llmcf::text::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace llmcf::text {

HWY_EXPORT(accumulate_rows);

void accumulate_rows(const SparseEntry* entries, int64_t count, const float* dense, int64_t width,
                     float* out) {
  HWY_DYNAMIC_DISPATCH(accumulate_rows)(entries, count, dense, width, out);
}

}  // namespace llmcf::text
#endif
