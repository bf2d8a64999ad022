// The inner loops, once per instruction set. This file includes itself through foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "serve/kernels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
// clang-format off
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "serve/kernels.h"

// Kernels are spelled as Highway spells its own.
// NOLINTBEGIN(readability-identifier-naming)
HWY_BEFORE_NAMESPACE();
namespace llmcf::serve::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;

constexpr int64_t kTileRows = HWY_TARGET == HWY_AVX3 ? 8 : 4;

// kRows rows of y, two vectors of columns from `column` on.
template <int64_t kRows>
HWY_INLINE void Tile(const float* HWY_RESTRICT panel, int64_t in, int64_t offset, int64_t column,
                     const Rows& rows, int64_t first) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  Vector low[kRows], high[kRows];
  const Vector bias_low = rows.bias == nullptr ? hn::Zero(tag) : hn::LoadU(tag, rows.bias + column);
  const Vector bias_high =
      rows.bias == nullptr ? hn::Zero(tag) : hn::LoadU(tag, rows.bias + column + lanes);
  const float* x[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    low[r] = bias_low;
    high[r] = bias_high;
    x[r] = rows.x_rows != nullptr ? rows.x_rows[first + r] : rows.x + (first + r) * rows.x_stride;
    if (rows.addend != nullptr) {
      const float* addend = rows.addend[first + r] + column;
      low[r] = hn::Add(low[r], hn::LoadU(tag, addend));
      high[r] = hn::Add(high[r], hn::LoadU(tag, addend + lanes));
    }
  }
  for (int64_t k = 0; k < in; ++k) {
    const Vector left = hn::LoadU(tag, panel + k * kPanel + offset);
    const Vector right = hn::LoadU(tag, panel + k * kPanel + offset + lanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const Vector value = hn::Set(tag, x[r][k]);
      low[r] = hn::MulAdd(value, left, low[r]);
      high[r] = hn::MulAdd(value, right, high[r]);
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    if (rows.relu) {
      low[r] = hn::Max(low[r], hn::Zero(tag));
      high[r] = hn::Max(high[r], hn::Zero(tag));
    }
    float* y = rows.y + (first + r) * rows.y_stride + column;
    hn::StoreU(low[r], tag, y);
    hn::StoreU(high[r], tag, y + lanes);
  }
}

void DenseRows(const Panels& weights, const Rows& rows) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const int64_t step = 2 * lanes, in = weights.in;
  const int64_t end = (weights.out + step - 1) / step * step;
  for (int64_t column = 0; column < end; column += step) {
    const float* panel = weights.data + column / kPanel * kPanel * in;
    const int64_t offset = column % kPanel;
    int64_t r = 0;
    for (; r + kTileRows <= rows.count; r += kTileRows)
      Tile<kTileRows>(panel, in, offset, column, rows, r);
    for (; r + 2 <= rows.count; r += 2)
      Tile<2>(panel, in, offset, column, rows, r);
    for (; r < rows.count; ++r)
      Tile<1>(panel, in, offset, column, rows, r);
  }
}

float Dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t width) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  Vector sums = hn::Zero(tag);
  int64_t k = 0;
  for (; k + lanes <= width; k += lanes)
    sums = hn::MulAdd(hn::LoadU(tag, a + k), hn::LoadU(tag, b + k), sums);
  float sum = hn::GetLane(hn::SumOfLanes(tag, sums));
  for (; k < width; ++k)
    sum += a[k] * b[k];
  return sum;
}

void AddScaled(float* HWY_RESTRICT y, const float* HWY_RESTRICT x, float factor, int64_t width) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector factors = hn::Set(tag, factor);
  int64_t k = 0;
  for (; k + lanes <= width; k += lanes)
    hn::StoreU(hn::MulAdd(factors, hn::LoadU(tag, x + k), hn::LoadU(tag, y + k)), tag, y + k);
  for (; k < width; ++k)
    y[k] += factor * x[k];
}

void Scaled(float* HWY_RESTRICT y, const float* HWY_RESTRICT x, float factor, int64_t width) {
  for (int64_t k = 0; k < width; ++k)
    y[k] = factor * x[k];
}

void Product(float* HWY_RESTRICT y, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
             int64_t width) {
  for (int64_t k = 0; k < width; ++k)
    y[k] = a[k] * b[k];
}

void RmsNorm(const float* x, const float* HWY_RESTRICT weight, float* y, int64_t rows,
             int64_t width, int64_t stride) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t r = 0; r < rows; ++r, x += stride, y += stride) {
    const float square = Dot(x, x, width);
    const float inverse = 1.0F / std::sqrt(square / static_cast<float>(width) + 1e-5F);
    const Vector factor = hn::Set(tag, inverse);
    int64_t k = 0;
    for (; k + lanes <= width; k += lanes)
      hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(tag, x + k), factor), hn::LoadU(tag, weight + k)), tag,
                 y + k);
    for (; k < width; ++k)
      y[k] = x[k] * inverse * weight[k];
  }
}

void LayerNorm(const float* x, const float* HWY_RESTRICT weight, const float* HWY_RESTRICT bias,
               float epsilon, float* y, int64_t rows, int64_t width, int64_t stride) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t r = 0; r < rows; ++r, x += stride, y += stride) {
    Vector sums = hn::Zero(tag);
    int64_t k = 0;
    for (; k + lanes <= width; k += lanes)
      sums = hn::Add(sums, hn::LoadU(tag, x + k));
    float sum = hn::GetLane(hn::SumOfLanes(tag, sums));
    for (; k < width; ++k)
      sum += x[k];
    const float mean = sum / static_cast<float>(width);
    const Vector centre = hn::Set(tag, mean);
    sums = hn::Zero(tag);
    for (k = 0; k + lanes <= width; k += lanes) {
      const Vector off = hn::Sub(hn::LoadU(tag, x + k), centre);
      sums = hn::MulAdd(off, off, sums);
    }
    float squares = hn::GetLane(hn::SumOfLanes(tag, sums));
    for (; k < width; ++k)
      squares += (x[k] - mean) * (x[k] - mean);
    const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
    for (k = 0; k < width; ++k)
      y[k] = (x[k] - mean) * inverse * weight[k] + bias[k];
  }
}

void Swiglu(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t h) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector one = hn::Set(tag, 1.0F);
  for (int64_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) {
    int64_t k = 0;
    for (; k + lanes <= h; k += lanes) {
      const Vector a = hn::LoadU(tag, x + k);
      const Vector silu = hn::Div(a, hn::Add(one, hn::Exp(tag, hn::Neg(a))));
      hn::StoreU(hn::Mul(silu, hn::LoadU(tag, x + h + k)), tag, y + k);
    }
    for (; k < h; ++k)
      y[k] = x[k] / (1.0F + std::exp(-x[k])) * x[h + k];
  }
}

void Softmax(float* x, int64_t count) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const float most = *std::max_element(x, x + count);
  const Vector shift = hn::Set(tag, most);
  float sum = 0;
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    const Vector e = hn::Exp(tag, hn::Sub(hn::LoadU(tag, x + k), shift));
    hn::StoreU(e, tag, x + k);
    sum += hn::GetLane(hn::SumOfLanes(tag, e));
  }
  for (; k < count; ++k) {
    x[k] = std::exp(x[k] - most);
    sum += x[k];
  }
  const float inverse = 1.0F / sum;
  for (k = 0; k < count; ++k)
    x[k] *= inverse;
}

void TanhOf(float* x, int64_t count) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes)
    hn::StoreU(hn::Tanh(tag, hn::LoadU(tag, x + k)), tag, x + k);
  for (; k < count; ++k)
    x[k] = std::tanh(x[k]);
}

void SigmoidOf(float* x, int64_t count) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector one = hn::Set(tag, 1.0F);
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes)
    hn::StoreU(hn::Div(one, hn::Add(one, hn::Exp(tag, hn::Neg(hn::LoadU(tag, x + k))))), tag,
               x + k);
  for (; k < count; ++k)
    x[k] = 1.0F / (1.0F + std::exp(-x[k]));
}

void Rotate(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim) {
  for (int64_t h = 0; h < heads; ++h, x += head_dim)
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const float even = x[2 * i], odd = x[2 * i + 1];
      x[2 * i] = even * cosine[i] - odd * sine[i];
      x[2 * i + 1] = even * sine[i] + odd * cosine[i];
    }
}

void Attend(const Attention& a) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(a.head_dim));
  const int64_t all = a.count + (a.own_key == nullptr ? 0 : 1);
  for (int64_t h = 0; h < a.heads; ++h) {
    const int64_t offset = h * a.head_dim;
    float* weights = a.weights + h * all;
    for (int64_t t = 0; t < a.count; ++t)
      weights[t] = scale * Dot(a.query + offset, a.keys + t * a.stride + offset, a.head_dim);
    if (a.own_key != nullptr)
      weights[a.count] = scale * Dot(a.query + offset, a.own_key + offset, a.head_dim);
    Softmax(weights, all);
    std::fill_n(a.out + offset, a.head_dim, 0.0F);
    for (int64_t t = 0; t < a.count; ++t)
      AddScaled(a.out + offset, a.values + t * a.stride + offset, weights[t], a.head_dim);
    if (a.own_value != nullptr)
      AddScaled(a.out + offset, a.own_value + offset, weights[a.count], a.head_dim);
  }
}

const char* InstructionSet() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace llmcf::serve::kernels
HWY_AFTER_NAMESPACE();
// NOLINTEND(readability-identifier-naming)

#if HWY_ONCE
namespace llmcf::serve::kernels {

HWY_EXPORT(DenseRows);
HWY_EXPORT(Dot);
HWY_EXPORT(AddScaled);
HWY_EXPORT(Scaled);
HWY_EXPORT(Product);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(LayerNorm);
HWY_EXPORT(Swiglu);
HWY_EXPORT(Softmax);
HWY_EXPORT(TanhOf);
HWY_EXPORT(SigmoidOf);
HWY_EXPORT(Rotate);
HWY_EXPORT(Attend);
HWY_EXPORT(InstructionSet);

PackedWeights::PackedWeights(const float* source, int64_t out, int64_t stride,
                             std::span<const int64_t> columns)
    : in_(static_cast<int64_t>(columns.size())), out_(out) {
  pack(source, stride, columns);
}

PackedWeights::PackedWeights(const float* source, int64_t out, int64_t in) : in_(in), out_(out) {
  std::vector<int64_t> columns(static_cast<size_t>(in));
  std::iota(columns.begin(), columns.end(), int64_t{0});
  pack(source, in, columns);
}

void PackedWeights::pack(const float* source, int64_t stride, std::span<const int64_t> columns) {
  panels_.assign(static_cast<size_t>(padded(out_) * in_), 0.0F);
  for (int64_t o = 0; o < out_; ++o)
    for (int64_t j = 0; j < in_; ++j)
      panels_[static_cast<size_t>((o / kPanel * in_ + j) * kPanel + o % kPanel)] =
          source[o * stride + columns[static_cast<size_t>(j)]];
}

void dense(const Panels& weights, const Rows& rows) {
  HWY_DYNAMIC_DISPATCH(DenseRows)(weights, rows);
}

float dot(const float* a, const float* b, int64_t width) {
  return HWY_DYNAMIC_DISPATCH(Dot)(a, b, width);
}

void add_scaled(float* y, const float* x, float factor, int64_t width) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(y, x, factor, width);
}

void scaled(float* y, const float* x, float factor, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Scaled)(y, x, factor, width);
}

void product(float* y, const float* a, const float* b, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Product)(y, a, b, width);
}

void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t width,
              int64_t stride) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, y, rows, width, stride);
}

void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, float* y,
                int64_t rows, int64_t width, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(LayerNorm)(x, weight, bias, epsilon, y, rows, width, stride);
}

void swiglu(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t h) {
  HWY_DYNAMIC_DISPATCH(Swiglu)(x, x_stride, y, y_stride, rows, h);
}

void gelu(float* x, int64_t count) {
  for (int64_t k = 0; k < count; ++k)
    x[k] = 0.5F * x[k] * (1.0F + std::erf(x[k] * 0.70710678F));
}

void tanh_of(float* x, int64_t count) {
  HWY_DYNAMIC_DISPATCH(TanhOf)(x, count);
}

void sigmoid_of(float* x, int64_t count) {
  HWY_DYNAMIC_DISPATCH(SigmoidOf)(x, count);
}

void softmax(float* x, int64_t count) {
  HWY_DYNAMIC_DISPATCH(Softmax)(x, count);
}

void rotate(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim) {
  HWY_DYNAMIC_DISPATCH(Rotate)(x, cosine, sine, heads, head_dim);
}

void attend(const Attention& attention) {
  HWY_DYNAMIC_DISPATCH(Attend)(attention);
}

const char* instruction_set() {
  return HWY_DYNAMIC_DISPATCH(InstructionSet)();
}

#if defined(__SSE2__)
DenormalsAreZero::DenormalsAreZero() : before_(_mm_getcsr()) {
  _mm_setcsr(static_cast<unsigned>(before_) | 0x8040U);  // flush to zero, denormals are zero
}
DenormalsAreZero::~DenormalsAreZero() {
  _mm_setcsr(static_cast<unsigned>(before_));
}
#elif defined(__aarch64__)
DenormalsAreZero::DenormalsAreZero() {
  asm volatile("mrs %0, fpcr" : "=r"(before_));
  asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
}
DenormalsAreZero::~DenormalsAreZero() {
  asm volatile("msr fpcr, %0" : : "r"(before_));
}
#else
DenormalsAreZero::DenormalsAreZero() = default;
DenormalsAreZero::~DenormalsAreZero() = default;
#endif

}  // namespace llmcf::serve::kernels
#endif
