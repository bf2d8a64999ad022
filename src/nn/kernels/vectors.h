// Small dense loops shared by the custom autograd functions. Row-major, compact; `d` is the width
// of a row. Not parallel: callers hand out ranges.
#pragma once

#include <cstdint>

namespace llmcf::nn::kernels {

// y[i] += a * x[i]
void add_scaled(float* y, const float* x, float a, int64_t count);

// Inverted dropout by counter: element i of the tensor with `key` is kept (and divided by 1 - p)
// or zeroed by a hash of (key, first + i), so that the backward pass and any number of threads
// repeat the same choice. `x` and `y` point at element `first`.
void dropout(const float* x, float* y, int64_t first, int64_t count, float p, uint64_t key);

// y = x / sqrt(mean(x^2) + eps) * w for each of `rows` rows; inverse[r] keeps the factor.
void rms_norm(const float* x, const float* w, float* y, float* inverse, int64_t rows, int64_t d,
              float epsilon);
// dx is written, dw is added to.
void rms_norm_backward(const float* dy, const float* x, const float* w, const float* inverse,
                       float* dx, float* dw, int64_t rows, int64_t d);

// Rows [a, b] of width 2h -> silu(a) * b of width h.
void swiglu(const float* ab, float* y, int64_t rows, int64_t h);
void swiglu_backward(const float* dy, const float* ab, float* dab, int64_t rows, int64_t h);

// Factorisation machine, second order: 0.5 sum_d [(sum_f v_fd)^2 - sum_f v_fd^2] per row [F, d].
void fm(const float* fields, float* y, int64_t rows, int64_t field_count, int64_t d);
void fm_backward(const float* dy, const float* fields, float* dfields, int64_t rows,
                 int64_t field_count, int64_t d);

// a.b, a.a and b.b of two vectors.
struct Products {
  float ab = 0, aa = 0, bb = 0;
};
Products products(const float* a, const float* b, int64_t count);
// y[i] = alpha * a[i] + beta * b[i]
void combine(float* y, const float* a, float alpha, const float* b, float beta, int64_t count);

}  // namespace llmcf::nn::kernels
