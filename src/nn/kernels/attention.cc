#include "nn/kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "nn/kernels/simd.h"

namespace llmcf::nn::kernels {

namespace {

constexpr double kTheta = 10000.0;

// Rotates (sign +1) or rotates back (-1) one row of all heads.
inline void rotate(const AttentionShape& shape, const RotaryTable& rotary, int64_t position,
                   float sign, const float* __restrict in, float* __restrict out) {
  const int64_t half = shape.head_dim / 2;
  const float* __restrict cosine = rotary.cosine.data() + position * half;
  const float* __restrict sine = rotary.sine.data() + position * half;
  for (int64_t h = 0; h < shape.heads; ++h) {
    const float* __restrict x = in + h * shape.head_dim;
    float* __restrict y = out + h * shape.head_dim;
    for (int64_t i = 0; i < half; ++i) {
      const float real = x[2 * i], imaginary = x[2 * i + 1];
      y[2 * i] = real * cosine[i] - sign * imaginary * sine[i];
      y[2 * i + 1] = sign * real * sine[i] + imaginary * cosine[i];
    }
  }
}

inline float dot(const float* __restrict a, const float* __restrict b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

inline void axpy(float* __restrict y, const float* __restrict x, float a, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    y[i] += a * x[i];
}

// Rotated queries and keys of the visible tokens, [T, d] each.
inline void rotate_all(const AttentionShape& shape, const RotaryTable& rotary, int64_t start,
                       const float* qkv, float* queries, float* keys) {
  const int64_t d = shape.width();
  for (int64_t t = start; t < shape.tokens; ++t) {
    rotate(shape, rotary, t, 1.0F, qkv + t * 3 * d, queries + t * d);
    rotate(shape, rotary, t, 1.0F, qkv + t * 3 * d + d, keys + t * d);
  }
}

inline void softmax(float* values, int64_t begin, int64_t end) {
  float largest = values[begin];
  for (int64_t j = begin; j < end; ++j)
    largest = std::max(largest, values[j]);
  float sum = 0;
  for (int64_t j = begin; j < end; ++j)
    sum += values[j] = std::exp(values[j] - largest);
  for (int64_t j = begin; j < end; ++j)
    values[j] /= sum;
}

}  // namespace

RotaryTable::RotaryTable(int64_t positions, int64_t head_dim) {
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(kTheta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      cosine.push_back(static_cast<float>(std::cos(angle)));
      sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

RotaryTable RotaryTable::identity(int64_t positions, int64_t head_dim) {
  RotaryTable table(0, head_dim);
  table.cosine.assign(static_cast<size_t>(positions * head_dim / 2), 1.0F);
  table.sine.assign(table.cosine.size(), 0.0F);
  return table;
}

LLMCF_SIMD void attention(const AttentionShape& shape, const RotaryTable& rotary, int64_t start,
                          const float* qkv, float* output, float* weights, float* scratch) {
  const int64_t T = shape.tokens, d = shape.width(), n = shape.head_dim, P = shape.outputs();
  float* queries = scratch;
  float* keys = scratch + T * d;
  const float scale = 1.0F / std::sqrt(static_cast<float>(n));
  rotate_all(shape, rotary, start, qkv, queries, keys);
  std::fill_n(output, P * d, 0.0F);
  std::fill_n(weights, shape.heads * P * T, 0.0F);
  for (int64_t h = 0; h < shape.heads; ++h) {
    for (int64_t p = 0; p < P; ++p) {
      const int64_t t = shape.first + p * shape.stride;
      if (t < start) continue;
      float* row = weights + (h * P + p) * T;
      for (int64_t j = start; j <= t; ++j)
        row[j] = scale * dot(queries + t * d + h * n, keys + j * d + h * n, n);
      softmax(row, start, t + 1);
      for (int64_t j = start; j <= t; ++j)
        axpy(output + p * d + h * n, qkv + j * 3 * d + 2 * d + h * n, row[j], n);
    }
  }
}

LLMCF_SIMD void attention_backward(const AttentionShape& shape, const RotaryTable& rotary,
                                   int64_t start, const float* doutput, const float* qkv,
                                   const float* weights, float* dqkv, float* scratch) {
  const int64_t T = shape.tokens, d = shape.width(), n = shape.head_dim, P = shape.outputs();
  float* queries = scratch;
  float* keys = queries + T * d;
  float* dqueries = keys + T * d;
  float* dkeys = dqueries + T * d;
  float* dweights = dkeys + T * d;
  const float scale = 1.0F / std::sqrt(static_cast<float>(n));
  rotate_all(shape, rotary, start, qkv, queries, keys);
  std::fill_n(dqueries, 2 * T * d, 0.0F);
  std::fill_n(dqkv, T * 3 * d, 0.0F);
  for (int64_t h = 0; h < shape.heads; ++h) {
    for (int64_t p = 0; p < P; ++p) {
      const int64_t t = shape.first + p * shape.stride;
      if (t < start) continue;
      const float* row = weights + (h * P + p) * T;
      const float* up = doutput + p * d + h * n;
      float mean = 0;
      for (int64_t j = start; j <= t; ++j) {
        dweights[j] = dot(up, qkv + j * 3 * d + 2 * d + h * n, n);
        mean += row[j] * dweights[j];
        axpy(dqkv + j * 3 * d + 2 * d + h * n, up, row[j], n);
      }
      for (int64_t j = start; j <= t; ++j) {
        const float dscore = scale * row[j] * (dweights[j] - mean);
        axpy(dqueries + t * d + h * n, keys + j * d + h * n, dscore, n);
        axpy(dkeys + j * d + h * n, queries + t * d + h * n, dscore, n);
      }
    }
  }
  for (int64_t t = start; t < T; ++t) {
    rotate(shape, rotary, t, -1.0F, dqueries + t * d, dqkv + t * 3 * d);
    rotate(shape, rotary, t, -1.0F, dkeys + t * d, dqkv + t * 3 * d + d);
  }
}

}  // namespace llmcf::nn::kernels
