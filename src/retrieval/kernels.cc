// The inner loops, once per instruction set. This file includes itself through foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retrieval/kernels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
// clang-format off
#include <hwy/highway.h>
// clang-format on

#include "retrieval/kernels.h"
#include "retrieval/selector.h"

// Kernels are spelled as Highway spells its own.
// NOLINTBEGIN(readability-identifier-naming)
HWY_BEFORE_NAMESPACE();
namespace llmcf::retrieval::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;

// Rows and vectors of one tile: as many accumulators as the registers hold (32 or 16).
constexpr size_t kTileRows = HWY_TARGET == HWY_AVX3 ? 12 : 6;
constexpr size_t kTileVectors = 2;
static_assert(kPanelRows % kTileRows == 0);

// One tile of one row panel and one column panel.
HWY_INLINE void tile(const float* HWY_RESTRICT rows, const float* HWY_RESTRICT columns,
                     const Product& p, float* HWY_RESTRICT out) {
  const Tag tag;
  const size_t lanes = hn::Lanes(tag);
  Vector sums[kTileRows][kTileVectors];
  for (auto& row : sums)
    for (auto& sum : row)
      sum = hn::Zero(tag);
  for (int64_t k = 0; k < p.width; ++k) {
    const Vector left = hn::LoadU(tag, columns);
    const Vector right = hn::LoadU(tag, columns + lanes);
    HWY_UNROLL(12)
    for (size_t r = 0; r < kTileRows; ++r) {
      const Vector value = hn::Set(tag, rows[r]);
      sums[r][0] = hn::MulAdd(value, left, sums[r][0]);
      sums[r][1] = hn::MulAdd(value, right, sums[r][1]);
    }
    rows += kPanelRows;
    columns += kPanelColumns;
  }
  const Vector scale = hn::Set(tag, p.scale);
  for (size_t r = 0; r < kTileRows; ++r, out += p.stride) {
    hn::StoreU(hn::Mul(sums[r][0], scale), tag, out);
    hn::StoreU(hn::Mul(sums[r][1], scale), tag, out + lanes);
  }
}

void Multiply(const Product& p) {
  const int64_t step = static_cast<int64_t>(kTileVectors * hn::Lanes(Tag()));
  for (int64_t column = 0; column < p.column_panels * kPanelColumns; column += step) {
    const int64_t panel = column / kPanelColumns;
    const float* columns =
        p.columns + panel * kPanelColumns * p.width + (column - panel * kPanelColumns);
    for (int64_t row = 0; row < p.row_panels * kPanelRows; row += kTileRows) {
      const int64_t row_panel = row / kPanelRows;
      const float* rows =
          p.rows + row_panel * kPanelRows * p.width + (row - row_panel * kPanelRows);
      tile(rows, columns, p, p.out + row * p.stride + column);
    }
  }
}

void Scan(const float* HWY_RESTRICT first_half, const float* HWY_RESTRICT second_half,
          int64_t count, int64_t first, Selector& selector) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  HWY_ALIGN float scores[kPanelColumns];
  Vector threshold = hn::Set(tag, selector.threshold());
  for (int64_t c = 0; c < count; c += kPanelColumns) {
    auto above = hn::Gt(hn::Zero(tag), hn::Zero(tag));  // none
    for (int64_t i = 0; i < kPanelColumns; i += lanes) {
      const Vector score =
          hn::Add(hn::LoadU(tag, first_half + c + i), hn::LoadU(tag, second_half + c + i));
      hn::Store(score, tag, scores + i);
      above = hn::Or(above, hn::Gt(score, threshold));
    }
    if (HWY_LIKELY(hn::AllFalse(tag, above))) continue;
    for (int64_t i = 0; i < kPanelColumns; ++i)
      selector.offer(first + c + i, scores[i]);
    threshold = hn::Set(tag, selector.threshold());
  }
}

int64_t CountAbove(const float* HWY_RESTRICT scores, int64_t panels, float threshold) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector limit = hn::Set(tag, threshold);
  int64_t count = 0;
  for (int64_t c = 0; c < panels * kPanelColumns; c += lanes)
    count += static_cast<int64_t>(hn::CountTrue(tag, hn::Gt(hn::LoadU(tag, scores + c), limit)));
  return count;
}

int64_t FirstAbove(const float* HWY_RESTRICT scores, int64_t panels, float threshold) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector limit = hn::Set(tag, threshold);
  for (int64_t panel = 0; panel < panels; ++panel) {
    auto above = hn::Gt(hn::Zero(tag), hn::Zero(tag));  // none
    for (int64_t i = 0; i < kPanelColumns; i += lanes)
      above = hn::Or(above, hn::Gt(hn::LoadU(tag, scores + panel * kPanelColumns + i), limit));
    if (HWY_UNLIKELY(!hn::AllFalse(tag, above))) return panel;
  }
  return panels;
}

float Dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t width) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  Vector low = hn::Zero(tag);
  Vector high = hn::Zero(tag);
  int64_t k = 0;
  for (; k + 2 * lanes <= width; k += 2 * lanes) {
    low = hn::MulAdd(hn::LoadU(tag, a + k), hn::LoadU(tag, b + k), low);
    high = hn::MulAdd(hn::LoadU(tag, a + k + lanes), hn::LoadU(tag, b + k + lanes), high);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, hn::Add(low, high)));
  for (; k < width; ++k)
    sum += a[k] * b[k];
  return sum;
}

void AddTo(float* HWY_RESTRICT sum, const float* HWY_RESTRICT row, int64_t width) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t k = 0;
  for (; k + lanes <= width; k += lanes)
    hn::StoreU(hn::Add(hn::LoadU(tag, sum + k), hn::LoadU(tag, row + k)), tag, sum + k);
  for (; k < width; ++k)
    sum[k] += row[k];
}

void ScaleTo(float* HWY_RESTRICT out, const float* HWY_RESTRICT sum, float factor, int64_t width) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector factors = hn::Set(tag, factor);
  int64_t k = 0;
  for (; k + lanes <= width; k += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(tag, sum + k), factors), tag, out + k);
  for (; k < width; ++k)
    out[k] = sum[k] * factor;
}

const char* InstructionSet() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace llmcf::retrieval::kernels
HWY_AFTER_NAMESPACE();
// NOLINTEND(readability-identifier-naming)

#if HWY_ONCE
namespace llmcf::retrieval::kernels {

HWY_EXPORT(Multiply);
HWY_EXPORT(Scan);
HWY_EXPORT(CountAbove);
HWY_EXPORT(FirstAbove);
HWY_EXPORT(Dot);
HWY_EXPORT(AddTo);
HWY_EXPORT(ScaleTo);
HWY_EXPORT(InstructionSet);

void multiply(const Product& product) {
  HWY_DYNAMIC_DISPATCH(Multiply)(product);
}

void scan(const float* first_half, const float* second_half, int64_t count, int64_t first,
          Selector& selector) {
  HWY_DYNAMIC_DISPATCH(Scan)(first_half, second_half, count, first, selector);
}

int64_t count_above(const float* scores, int64_t panels, float threshold) {
  return HWY_DYNAMIC_DISPATCH(CountAbove)(scores, panels, threshold);
}

int64_t first_above(const float* scores, int64_t panels, float threshold) {
  return HWY_DYNAMIC_DISPATCH(FirstAbove)(scores, panels, threshold);
}

float dot(const float* a, const float* b, int64_t width) {
  return HWY_DYNAMIC_DISPATCH(Dot)(a, b, width);
}

void add_to(float* sum, const float* row, int64_t width) {
  HWY_DYNAMIC_DISPATCH(AddTo)(sum, row, width);
}

void scale_to(float* out, const float* sum, float factor, int64_t width) {
  HWY_DYNAMIC_DISPATCH(ScaleTo)(out, sum, factor, width);
}

const char* instruction_set() {
  return HWY_DYNAMIC_DISPATCH(InstructionSet)();
}

}  // namespace llmcf::retrieval::kernels
#endif
