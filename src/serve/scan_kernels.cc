// The inner loops, once per instruction set. This file includes itself through foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "serve/scan_kernels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
// clang-format off
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <cstring>
#include <limits>

#include "serve/kernels.h"
#include "serve/scan_kernels.h"

// Kernels are spelled as Highway spells its own.
// NOLINTBEGIN(readability-identifier-naming)
HWY_BEFORE_NAMESPACE();
namespace llmcf::serve::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;

HWY_INLINE float FromHalfOne(const hwy::float16_t* value) {
  const hn::CappedTag<float, 1> one;
  const hn::Rebind<hwy::float16_t, decltype(one)> half;
  return hn::GetLane(hn::PromoteTo(one, hn::LoadU(half, value)));
}

// kPanels neighbouring panels at once: enough independent chains to hide the latency of an
// addition.
template <int64_t kPanels>
HWY_INLINE void ScanPanels(const float* HWY_RESTRICT query, const uint16_t* HWY_RESTRICT panels,
                           int64_t width, float* HWY_RESTRICT out) {
  const Tag tag;
  const hn::Rebind<hwy::float16_t, Tag> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  constexpr int64_t kVectors = 2;  // of a panel at once
  const auto* base = reinterpret_cast<const hwy::float16_t*>(panels);
  for (int64_t column = 0; column < kPanel; column += kVectors * lanes) {
    Vector sums[kPanels][kVectors];
    for (auto& panel : sums)
      for (auto& sum : panel)
        sum = hn::Zero(tag);
    for (int64_t k = 0; k < width; ++k) {
      const Vector value = hn::Set(tag, query[k]);
      for (int64_t p = 0; p < kPanels; ++p) {
        const hwy::float16_t* from = base + (p * width + k) * kPanel + column;
        for (int64_t v = 0; v < kVectors; ++v)
          sums[p][v] =
              hn::MulAdd(value, hn::PromoteTo(tag, hn::LoadU(half, from + v * lanes)), sums[p][v]);
      }
    }
    for (int64_t p = 0; p < kPanels; ++p)
      for (int64_t v = 0; v < kVectors; ++v)
        hn::StoreU(sums[p][v], tag, out + p * kPanel + column + v * lanes);
  }
}

void ScanHalf(const float* HWY_RESTRICT query, const uint16_t* HWY_RESTRICT panels, int64_t columns,
              int64_t width, float* HWY_RESTRICT out) {
  constexpr int64_t kTogether = 4;
  const int64_t count = columns / kPanel;
  int64_t panel = 0;
  for (; panel + kTogether <= count; panel += kTogether)
    ScanPanels<kTogether>(query, panels + panel * kPanel * width, width, out + panel * kPanel);
  for (; panel < count; ++panel)
    ScanPanels<1>(query, panels + panel * kPanel * width, width, out + panel * kPanel);
}

// Four rows at once; those of the next round, which may lie anywhere, are asked for in this one.
void HalfRows(const float* HWY_RESTRICT query, const uint16_t* HWY_RESTRICT rows,
              const int32_t* HWY_RESTRICT ids, int64_t count, int64_t width,
              float* HWY_RESTRICT out) {
  const Tag tag;
  const hn::Rebind<hwy::float16_t, Tag> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  constexpr int64_t kTogether = 4, kLine = 32;  // values in a cache line
  const auto* base = reinterpret_cast<const hwy::float16_t*>(rows);
  for (int64_t begin = 0; begin < count; begin += kTogether) {
    const int64_t size = std::min(kTogether, count - begin);
    const hwy::float16_t* row[kTogether];
    Vector sums[kTogether];
    for (int64_t i = 0; i < kTogether; ++i) {
      row[i] = base + static_cast<int64_t>(ids[begin + std::min(i, size - 1)]) * width;
      sums[i] = hn::Zero(tag);
    }
    for (int64_t i = begin + 2 * kTogether; i < std::min(count, begin + 3 * kTogether); ++i)
      for (int64_t k = 0; k < width; k += kLine)
        __builtin_prefetch(base + static_cast<int64_t>(ids[i]) * width + k);
    int64_t k = 0;
    for (; k + lanes <= width; k += lanes) {
      const Vector value = hn::LoadU(tag, query + k);
      for (int64_t i = 0; i < kTogether; ++i)
        sums[i] = hn::MulAdd(value, hn::PromoteTo(tag, hn::LoadU(half, row[i] + k)), sums[i]);
    }
    for (int64_t i = 0; i < size; ++i) {
      float sum = hn::GetLane(hn::SumOfLanes(tag, sums[i]));
      for (int64_t rest = k; rest < width; ++rest)
        sum += query[rest] * FromHalfOne(row[i] + rest);
      out[begin + i] = sum;
    }
  }
}

// Plain loads: gather instructions are slower on processors that guard them.
void GatheredSums(const float* HWY_RESTRICT most, const int32_t* HWY_RESTRICT group,
                  const float* HWY_RESTRICT target, float factor, int64_t count,
                  float* HWY_RESTRICT out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = most[group[i]] + factor * target[i];
}

HWY_INLINE void Insert(float value, float* best, int64_t k) {
  if (!(value > best[k - 1])) return;
  int64_t slot = k - 1;
  for (; slot > 0 && best[slot - 1] < value; --slot)
    best[slot] = best[slot - 1];
  best[slot] = value;
}

template <typename D>
HWY_INLINE float MaxOf(D tag, const float* HWY_RESTRICT values, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  float most = values[0];
  int64_t i = 0;
  if (count >= lanes) {
    auto largest = hn::LoadU(tag, values);
    for (i = lanes; i + lanes <= count; i += lanes)
      largest = hn::Max(largest, hn::LoadU(tag, values + i));
    most = hn::GetLane(hn::MaxOfLanes(tag, largest));
  }
  for (; i < count; ++i)
    most = std::max(most, values[i]);
  return most;
}

float Largest(const float* HWY_RESTRICT values, int64_t count) {
  return MaxOf(Tag(), values, count);
}

// The smallest of the largest values of k parts: k values at least are not below it.
// REQUIRES: count >= k lanes of the tag.
template <typename D>
HWY_INLINE float SmallestOfParts(D tag, const float* HWY_RESTRICT values, int64_t count,
                                 int64_t k) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const int64_t part = count / k / lanes * lanes;
  float bound = MaxOf(tag, values, part);
  for (int64_t p = 1; p < k; ++p)
    bound = std::min(bound, MaxOf(tag, values + p * part, part));
  return bound;
}

// With vectors as wide as there are values for; nothing is bounded by few.
float BoundOfLargest(const float* HWY_RESTRICT values, int64_t count, int64_t k) {
  const Tag wide;
  const hn::CappedTag<float, 8> narrow;
  if (count >= k * static_cast<int64_t>(hn::Lanes(wide)))
    return SmallestOfParts(wide, values, count, k);
  if (count >= k * static_cast<int64_t>(hn::Lanes(narrow)))
    return SmallestOfParts(narrow, values, count, k);
  return -std::numeric_limits<float>::infinity();
}

// Groups are short, and how short cannot be foreseen: up to three values without a branch.
void LargestOfGroups(const float* HWY_RESTRICT values, const int32_t* HWY_RESTRICT begin,
                     int64_t groups, float* HWY_RESTRICT out) {
  for (int64_t g = 0; g < groups; ++g) {
    const float* group = values + begin[g];
    const int64_t last = begin[g + 1] - begin[g] - 1;
    out[g] = last > 2
                 ? Largest(group, last + 1)
                 : std::max(std::max(group[0], group[last]), group[std::min<int64_t>(1, last)]);
  }
}

void MergeLargest(const float* HWY_RESTRICT values, int64_t count, float* HWY_RESTRICT best,
                  int64_t k) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  if (count == 0 || Largest(values, count) <= best[k - 1]) return;
  float floor = std::max(best[k - 1], BoundOfLargest(values, count, k));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto above = hn::Ge(hn::LoadU(tag, values + i), hn::Set(tag, floor));
    if (hn::AllFalse(tag, above)) continue;
    for (int64_t lane = i; lane < i + lanes; ++lane)
      if (values[lane] >= floor) Insert(values[lane], best, k);
    floor = std::max(floor, best[k - 1]);
  }
  for (; i < count; ++i)
    Insert(values[i], best, k);
}

int64_t IndicesAbove(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, float factor,
                     int64_t count, float floor, int32_t* HWY_RESTRICT out) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector factors = hn::Set(tag, factor), floors = hn::Set(tag, floor);
  int64_t found = 0, i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Vector sum = hn::MulAdd(factors, hn::LoadU(tag, b + i), hn::LoadU(tag, a + i));
    if (HWY_LIKELY(hn::AllFalse(tag, hn::Ge(sum, floors)))) continue;
    for (int64_t lane = i; lane < i + lanes; ++lane)
      if (a[lane] + factor * b[lane] >= floor) out[found++] = static_cast<int32_t>(lane);
  }
  for (; i < count; ++i)
    if (a[i] + factor * b[i] >= floor) out[found++] = static_cast<int32_t>(i);
  return found;
}

void ChainedDots(const float* HWY_RESTRICT query, const float* HWY_RESTRICT rows,
                 const int32_t* HWY_RESTRICT ids, int64_t count, int64_t width, float scale,
                 float* HWY_RESTRICT out) {
  const hn::CappedTag<float, 1> one;
  constexpr int64_t kTogether = 8;
  for (int64_t begin = 0; begin < count; begin += kTogether) {
    const int64_t size = std::min(kTogether, count - begin);
    hn::Vec<decltype(one)> sums[kTogether];
    const float* row[kTogether];
    for (int64_t i = 0; i < kTogether; ++i) {
      sums[i] = hn::Zero(one);
      row[i] = rows + static_cast<int64_t>(ids[begin + std::min(i, size - 1)]) * width;
    }
    // Rows lie anywhere: those of the next round are asked for in this one.
    for (int64_t i = begin + kTogether; i < std::min(count, begin + 2 * kTogether); ++i)
      for (int64_t k = 0; k < width; k += 16)
        __builtin_prefetch(rows + static_cast<int64_t>(ids[i]) * width + k);
    for (int64_t k = 0; k < width; ++k) {
      const auto value = hn::Set(one, query[k]);
      for (int64_t i = 0; i < kTogether; ++i)
        sums[i] = hn::MulAdd(value, hn::Set(one, row[i][k]), sums[i]);
    }
    for (int64_t i = 0; i < size; ++i)
      out[begin + i] = hn::GetLane(sums[i]) * scale;
  }
}

void ToHalf(const float* from, uint16_t* to, int64_t count) {
  const hn::CappedTag<float, 4> tag;
  const hn::Rebind<hwy::float16_t, decltype(tag)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  HWY_ALIGN float in[4] = {};
  HWY_ALIGN hwy::float16_t out[8] = {};
  for (int64_t k = 0; k < count; k += lanes) {
    const auto size = static_cast<size_t>(std::min(lanes, count - k));
    std::memcpy(in, from + k, size * sizeof(float));
    hn::StoreU(hn::DemoteTo(half, hn::Load(tag, in)), half, out);
    std::memcpy(to + k, out, size * sizeof(uint16_t));
  }
}

void FromHalf(const uint16_t* from, float* to, int64_t count) {
  const hn::CappedTag<float, 4> tag;
  const hn::Rebind<hwy::float16_t, decltype(tag)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  HWY_ALIGN hwy::float16_t in[8] = {};
  HWY_ALIGN float out[4] = {};
  for (int64_t k = 0; k < count; k += lanes) {
    const auto size = static_cast<size_t>(std::min(lanes, count - k));
    std::memcpy(in, from + k, size * sizeof(uint16_t));
    hn::Store(hn::PromoteTo(tag, hn::LoadU(half, in)), tag, out);
    std::memcpy(to + k, out, size * sizeof(float));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace llmcf::serve::kernels
HWY_AFTER_NAMESPACE();
// NOLINTEND(readability-identifier-naming)

#if HWY_ONCE
namespace llmcf::serve::kernels {

HWY_EXPORT(ScanHalf);
HWY_EXPORT(HalfRows);
HWY_EXPORT(ChainedDots);
HWY_EXPORT(GatheredSums);
HWY_EXPORT(MergeLargest);
HWY_EXPORT(BoundOfLargest);
HWY_EXPORT(Largest);
HWY_EXPORT(LargestOfGroups);
HWY_EXPORT(IndicesAbove);
HWY_EXPORT(ToHalf);
HWY_EXPORT(FromHalf);

void scan_half(const float* query, const uint16_t* panels, int64_t columns, int64_t width,
               float* out) {
  HWY_DYNAMIC_DISPATCH(ScanHalf)(query, panels, columns, width, out);
}

void half_rows(const float* query, const uint16_t* rows, const int32_t* ids, int64_t count,
               int64_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(HalfRows)(query, rows, ids, count, width, out);
}

void chained_dots(const float* query, const float* rows, const int32_t* ids, int64_t count,
                  int64_t width, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(ChainedDots)(query, rows, ids, count, width, scale, out);
}

void gathered_sums(const float* most, const int32_t* group, const float* target, float factor,
                   int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(GatheredSums)(most, group, target, factor, count, out);
}

void merge_largest(const float* values, int64_t count, float* best, int64_t k) {
  HWY_DYNAMIC_DISPATCH(MergeLargest)(values, count, best, k);
}

float bound_of_largest(const float* values, int64_t count, int64_t k) {
  return HWY_DYNAMIC_DISPATCH(BoundOfLargest)(values, count, k);
}

float largest(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(Largest)(values, count);
}

void largest_of_groups(const float* values, const int32_t* begin, int64_t groups, float* out) {
  HWY_DYNAMIC_DISPATCH(LargestOfGroups)(values, begin, groups, out);
}

int64_t indices_above(const float* a, const float* b, float factor, int64_t count, float floor,
                      int32_t* out) {
  return HWY_DYNAMIC_DISPATCH(IndicesAbove)(a, b, factor, count, floor, out);
}

void to_half(const float* from, uint16_t* to, int64_t count) {
  HWY_DYNAMIC_DISPATCH(ToHalf)(from, to, count);
}

void from_half(const uint16_t* from, float* to, int64_t count) {
  HWY_DYNAMIC_DISPATCH(FromHalf)(from, to, count);
}

}  // namespace llmcf::serve::kernels
#endif
