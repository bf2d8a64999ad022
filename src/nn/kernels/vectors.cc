#include "nn/kernels/vectors.h"

#include <bit>
#include <cmath>

#include "nn/kernels/simd.h"

namespace llmcf::nn::kernels {

namespace {

// exp(x) to about 2 ulp for |x| <= 87 in operations that vectorise (range reduction by ln 2 in two
// parts, polynomial of degree 6).
inline float fast_exp(float x) {
  x = x < -87.0F ? -87.0F : (x > 87.0F ? 87.0F : x);
  const float scaled = x * 1.44269504F;
  const auto power = static_cast<int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F));
  const auto whole = static_cast<float>(power);
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  float sum = 1.9875691500e-4F;
  sum = sum * r + 1.3981999507e-3F;
  sum = sum * r + 8.3334519073e-3F;
  sum = sum * r + 4.1665795894e-2F;
  sum = sum * r + 1.6666665459e-1F;
  sum = sum * r + 5.0000001201e-1F;
  sum = sum * r * r + r + 1.0F;
  return sum * std::bit_cast<float>((power + 127) << 23);
}

inline float sigmoid(float x) {
  return 1.0F / (1.0F + fast_exp(-x));
}

inline uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= x >> 15;
  x *= 0x846CA68BU;
  x ^= x >> 16;
  return x;
}

}  // namespace

LLMCF_SIMD void add_scaled(float* __restrict y, const float* __restrict x, float a, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] += a * x[i];
}

LLMCF_SIMD void dropout(const float* __restrict x, float* __restrict y, int64_t first,
                        int64_t count, float p, uint64_t key) {
  const float scale = 1.0F / (1.0F - p);
  const auto limit = static_cast<uint32_t>(static_cast<double>(p) * 4294967296.0);
  const auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  const auto start = static_cast<uint32_t>(first);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = mix(mix((start + static_cast<uint32_t>(i)) ^ low) + high);
    y[i] = bits >= limit ? x[i] * scale : 0.0F;
  }
}

LLMCF_SIMD void rms_norm(const float* __restrict x, const float* __restrict w, float* __restrict y,
                         float* __restrict inverse, int64_t rows, int64_t d, float epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * d;
    float* out = y + r * d;
    float sum = 0;
    for (int64_t i = 0; i < d; ++i)
      sum += in[i] * in[i];
    const float factor = 1.0F / std::sqrt(sum / static_cast<float>(d) + epsilon);
    inverse[r] = factor;
    for (int64_t i = 0; i < d; ++i)
      out[i] = in[i] * factor * w[i];
  }
}

LLMCF_SIMD void rms_norm_backward(const float* __restrict dy, const float* __restrict x,
                                  const float* __restrict w, const float* __restrict inverse,
                                  float* __restrict dx, float* __restrict dw, int64_t rows,
                                  int64_t d) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * d;
    const float* up = dy + r * d;
    float* down = dx + r * d;
    const float factor = inverse[r];
    float dot = 0;
    for (int64_t i = 0; i < d; ++i)
      dot += up[i] * w[i] * in[i];
    const float shared = dot * factor * factor * factor / static_cast<float>(d);
    for (int64_t i = 0; i < d; ++i) {
      down[i] = up[i] * w[i] * factor - in[i] * shared;
      dw[i] += up[i] * in[i] * factor;
    }
  }
}

LLMCF_SIMD void swiglu(const float* __restrict ab, float* __restrict y, int64_t rows, int64_t h) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = ab + r * 2 * h;
    const float* b = a + h;
    for (int64_t i = 0; i < h; ++i)
      y[r * h + i] = a[i] * sigmoid(a[i]) * b[i];
  }
}

LLMCF_SIMD void swiglu_backward(const float* __restrict dy, const float* __restrict ab,
                                float* __restrict dab, int64_t rows, int64_t h) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = ab + r * 2 * h;
    const float* b = a + h;
    const float* up = dy + r * h;
    float* da = dab + r * 2 * h;
    float* db = da + h;
    for (int64_t i = 0; i < h; ++i) {
      const float s = sigmoid(a[i]);
      da[i] = up[i] * b[i] * s * (1.0F + a[i] * (1.0F - s));
      db[i] = up[i] * a[i] * s;
    }
  }
}

LLMCF_SIMD void fm(const float* __restrict fields, float* __restrict y, int64_t rows,
                   int64_t field_count, int64_t d) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = fields + r * field_count * d;
    float total = 0;
    for (int64_t i = 0; i < d; ++i) {
      float sum = 0, squares = 0;
      for (int64_t f = 0; f < field_count; ++f) {
        const float value = row[f * d + i];
        sum += value;
        squares += value * value;
      }
      total += sum * sum - squares;
    }
    y[r] = 0.5F * total;
  }
}

LLMCF_SIMD void fm_backward(const float* __restrict dy, const float* __restrict fields,
                            float* __restrict dfields, int64_t rows, int64_t field_count,
                            int64_t d) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = fields + r * field_count * d;
    float* down = dfields + r * field_count * d;
    for (int64_t i = 0; i < d; ++i) {
      float sum = 0;
      for (int64_t f = 0; f < field_count; ++f)
        sum += row[f * d + i];
      for (int64_t f = 0; f < field_count; ++f)
        down[f * d + i] = dy[r] * (sum - row[f * d + i]);
    }
  }
}

LLMCF_SIMD Products products(const float* __restrict a, const float* __restrict b, int64_t count) {
  float ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < count; ++i) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return {ab, aa, bb};
}

LLMCF_SIMD void combine(float* __restrict y, const float* __restrict a, float alpha,
                        const float* __restrict b, float beta, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = alpha * a[i] + beta * b[i];
}

}  // namespace llmcf::nn::kernels
