#include "nn/kernels/pairs.h"

#include <cmath>

#include "nn/kernels/simd.h"

namespace llmcf::nn::kernels {

LLMCF_SIMD void event_products(const Events& events, const float* __restrict row,
                               const float* __restrict item, float* __restrict out, int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      const float* k = item + events.items[e] * d;
      for (int64_t i = 0; i < d; ++i)
        out[e * d + i] = row[b * d + i] * k[i];
    }
}

LLMCF_SIMD void event_products_backward(const Events& events, const float* __restrict up,
                                        const float* __restrict row, const float* __restrict item,
                                        float* __restrict drow, float* __restrict ditem,
                                        int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      const float* k = item + events.items[e] * d;
      float* dk = ditem + events.items[e] * d;
      for (int64_t i = 0; i < d; ++i) {
        drow[b * d + i] += up[e * d + i] * k[i];
        dk[i] += up[e * d + i] * row[b * d + i];
      }
    }
}

LLMCF_SIMD void event_relu_sums(const Events& events, const float* __restrict event,
                                const float* __restrict row, const float* __restrict item,
                                float* __restrict out, int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      const float* k = item + events.items[e] * d;
      for (int64_t i = 0; i < d; ++i) {
        const float sum = event[e * d + i] + row[b * d + i] + k[i];
        out[e * d + i] = sum > 0 ? sum : 0;
      }
    }
}

LLMCF_SIMD void event_relu_sums_backward(const Events& events, const float* __restrict up,
                                         const float* __restrict out, float* __restrict devent,
                                         float* __restrict drow, float* __restrict ditem,
                                         int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      float* dk = ditem + events.items[e] * d;
      for (int64_t i = 0; i < d; ++i) {
        const float down = out[e * d + i] > 0 ? up[e * d + i] : 0;
        devent[e * d + i] = down;
        drow[b * d + i] += down;
        dk[i] += down;
      }
    }
}

LLMCF_SIMD void weighted_items(const Events& events, const float* __restrict weight,
                               const float* __restrict item, float* __restrict out, int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      const float* k = item + events.items[e] * d;
      for (int64_t i = 0; i < d; ++i)
        out[b * d + i] += weight[e] * k[i];
    }
}

LLMCF_SIMD void weighted_items_backward(const Events& events, const float* __restrict up,
                                        const float* __restrict weight,
                                        const float* __restrict item, float* __restrict dweight,
                                        float* __restrict ditem, int64_t d) {
  for (int64_t b = 0; b < events.rows; ++b)
    for (int64_t e = events.offsets[b]; e < events.offsets[b + 1]; ++e) {
      const float* k = item + events.items[e] * d;
      float* dk = ditem + events.items[e] * d;
      float dot = 0;
      for (int64_t i = 0; i < d; ++i) {
        dot += up[b * d + i] * k[i];
        dk[i] += up[b * d + i] * weight[e];
      }
      dweight[e] = dot;
    }
}

LLMCF_SIMD void outer_products(const float* __restrict x, const float* __restrict y,
                               float* __restrict out, int64_t rows, int64_t f_count, int64_t h,
                               int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t f = 0; f < f_count; ++f) {
      const float scale = x[r * f_count + f];
      float* to = out + (r * f_count + f) * h;
      for (int64_t i = 0; i < h; ++i)
        to[i] = scale * y[r * stride + i];
    }
}

LLMCF_SIMD void outer_products_backward(const float* __restrict up, const float* __restrict x,
                                        const float* __restrict y, float* __restrict dx,
                                        float* __restrict dy, int64_t rows, int64_t f_count,
                                        int64_t h, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t f = 0; f < f_count; ++f) {
      const float scale = x[r * f_count + f];
      const float* from = up + (r * f_count + f) * h;
      float dot = 0;
      for (int64_t i = 0; i < h; ++i) {
        dot += from[i] * y[r * stride + i];
        dy[r * stride + i] += from[i] * scale;
      }
      dx[r * f_count + f] += dot;
    }
}

LLMCF_SIMD void relu_pool(float* __restrict maps, float* __restrict pooled, int64_t rows, int64_t d,
                          int64_t o, int64_t from, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    float* sums = pooled + r * stride;
    for (int64_t i = from; i < o; ++i)
      sums[i - from] = 0;
    for (int64_t c = 0; c < d; ++c) {
      float* row = maps + (r * d + c) * o;
      for (int64_t i = 0; i < o; ++i)
        row[i] = row[i] > 0 ? row[i] : 0;
      for (int64_t i = from; i < o; ++i)
        sums[i - from] += row[i];
    }
  }
}

LLMCF_SIMD void relu_pool_backward(float* __restrict up, const float* __restrict maps,
                                   const float* __restrict dpooled, int64_t rows, int64_t d,
                                   int64_t o, int64_t from, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < d; ++c) {
      float* row = up + (r * d + c) * o;
      const float* out = maps + (r * d + c) * o;
      for (int64_t i = from; i < o; ++i)
        row[i] += dpooled[r * stride + i - from];
      for (int64_t i = 0; i < o; ++i)
        row[i] = out[i] > 0 ? row[i] : 0;
    }
}

LLMCF_SIMD void attention_weights(const float* __restrict qkv, float* __restrict weights, int64_t t,
                                  int64_t heads, int64_t d) {
  const int64_t width = d / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < t; ++i) {
      const float* q = qkv + i * 3 * d + h * width;
      float* out = weights + (h * t + i) * t;
      float largest = -INFINITY, sum = 0;
      for (int64_t j = 0; j < t; ++j) {
        const float* k = qkv + j * 3 * d + d + h * width;
        float dot = 0;
        for (int64_t c = 0; c < width; ++c)
          dot += q[c] * k[c];
        out[j] = dot * scale;
        largest = out[j] > largest ? out[j] : largest;
      }
      for (int64_t j = 0; j < t; ++j)
        sum += out[j] = std::exp(out[j] - largest);
      for (int64_t j = 0; j < t; ++j)
        out[j] /= sum;
    }
}

LLMCF_SIMD void attention_weights_backward(const float* __restrict up, const float* __restrict qkv,
                                           const float* __restrict weights, float* __restrict dqkv,
                                           int64_t t, int64_t heads, int64_t d) {
  const int64_t width = d / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < t; ++i) {
      const float* p = weights + (h * t + i) * t;
      const float* dp = up + (h * t + i) * t;
      const float* q = qkv + i * 3 * d + h * width;
      float* dq = dqkv + i * 3 * d + h * width;
      float shared = 0;
      for (int64_t j = 0; j < t; ++j)
        shared += p[j] * dp[j];
      for (int64_t j = 0; j < t; ++j) {
        const float slope = p[j] * (dp[j] - shared) * scale;
        const float* k = qkv + j * 3 * d + d + h * width;
        float* dk = dqkv + j * 3 * d + d + h * width;
        for (int64_t c = 0; c < width; ++c) {
          dq[c] += slope * k[c];
          dk[c] += slope * q[c];
        }
      }
    }
}

LLMCF_SIMD void attention_mix(const float* __restrict weights, const float* __restrict qkv,
                              float* __restrict out, int64_t t, int64_t heads, int64_t d) {
  const int64_t width = d / heads;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < t; ++i) {
      float* to = out + i * d + h * width;
      for (int64_t c = 0; c < width; ++c)
        to[c] = 0;
      for (int64_t j = 0; j < t; ++j) {
        const float weight = weights[(h * t + i) * t + j];
        const float* v = qkv + j * 3 * d + 2 * d + h * width;
        for (int64_t c = 0; c < width; ++c)
          to[c] += weight * v[c];
      }
    }
}

LLMCF_SIMD void attention_mix_backward(const float* __restrict up, const float* __restrict weights,
                                       const float* __restrict qkv, float* __restrict dweights,
                                       float* __restrict dqkv, int64_t t, int64_t heads,
                                       int64_t d) {
  const int64_t width = d / heads;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < t; ++i) {
      const float* from = up + i * d + h * width;
      for (int64_t j = 0; j < t; ++j) {
        const float weight = weights[(h * t + i) * t + j];
        const float* v = qkv + j * 3 * d + 2 * d + h * width;
        float* dv = dqkv + j * 3 * d + 2 * d + h * width;
        float dot = 0;
        for (int64_t c = 0; c < width; ++c) {
          dot += from[c] * v[c];
          dv[c] += weight * from[c];
        }
        dweights[(h * t + i) * t + j] = dot;
      }
    }
}

}  // namespace llmcf::nn::kernels
