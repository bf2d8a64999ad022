// The inner loops of scoring, compiled for every instruction set and chosen at run time (Highway).
//
// Widths: a row of an activation has room for padded(width) floats. What lies between width and
// padded(width) is written by dense() and holds act(0).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llmcf::serve::kernels {

inline constexpr int64_t kPanel = 32;  // columns of a panel of packed weights

constexpr int64_t padded(int64_t width) {
  return (width + kPanel - 1) / kPanel * kPanel;
}

// Weights of a linear layer, [out, in] packed into column panels [ceil(out / 32)][in][32].
class PackedWeights {
 public:
  PackedWeights() = default;
  // Column j of row i of the source is at source[i * stride + columns[j]].
  PackedWeights(const float* source, int64_t out, int64_t stride, std::span<const int64_t> columns);
  // All of a row-major [out, in] matrix.
  PackedWeights(const float* source, int64_t out, int64_t in);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  const float* data() const { return panels_.data(); }

 private:
  void pack(const float* source, int64_t stride, std::span<const int64_t> columns);

  int64_t in_ = 0, out_ = 0;
  std::vector<float> panels_;
};

// The same where it lies.
struct Panels {
  const float* data = nullptr;
  int64_t in = 0, out = 0;
};

// y[r] = act(bias + addend[r] + W x[r]). Rows of x are `x_stride` floats apart, or where `x_rows`
// points to; of y `y_stride` >= padded(out). `bias` and every addend hold padded(out) floats;
// either may be null. x may be null if W has no columns.
//
// Every sum is one chain of fused multiply-adds over x in order, from bias + addend (from 0 without
// them), as retrieval/kernels.h has it.
struct Rows {
  int64_t count = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* const* x_rows = nullptr;
  const float* bias = nullptr;
  const float* const* addend = nullptr;
  bool relu = false;
  float* y = nullptr;
  int64_t y_stride = 0;
};
void dense(const Panels& weights, const Rows& rows);
inline void dense(const PackedWeights& weights, const Rows& rows) {
  dense(Panels{.data = weights.data(), .in = weights.in(), .out = weights.out()}, rows);
}

float dot(const float* a, const float* b, int64_t width);
// y += factor * x
void add_scaled(float* y, const float* x, float factor, int64_t width);
// y = factor * x;  y = a * b
void scaled(float* y, const float* x, float factor, int64_t width);
void product(float* y, const float* a, const float* b, int64_t width);

// Rows of `width` floats, `stride` apart: x * weight / sqrt(mean(x^2) + 1e-5).
void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t width,
              int64_t stride);
// Rows of `width` floats: (x - mean) / sqrt(variance + epsilon) * weight + bias.
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, float* y,
                int64_t rows, int64_t width, int64_t stride);
// Rows [2 h] -> [h]: silu(first half) * second half; strides in floats.
void swiglu(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t h);
// Exact GELU and sigmoid, tanh in place.
void gelu(float* x, int64_t count);
void tanh_of(float* x, int64_t count);
void sigmoid_of(float* x, int64_t count);
// Softmax over count values in place.
void softmax(float* x, int64_t count);

// Turns interleaved pairs of every head by one position: cosine, sine [head_dim / 2].
void rotate(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim);

// One query against `count` keys and values (rows `stride` floats apart), then its own ones if
// given: softmax(q.k / sqrt(head width)) v per head. weights [heads, all of them] are kept; out
// [heads * head_dim].
struct Attention {
  int64_t heads = 0, head_dim = 0;
  const float* query = nullptr;
  const float* keys = nullptr;
  const float* values = nullptr;
  int64_t stride = 0, count = 0;
  const float* own_key = nullptr;
  const float* own_value = nullptr;
  float* weights = nullptr;
  float* out = nullptr;
};
void attend(const Attention& attention);

const char* instruction_set();

// While it lives, this thread takes denormal numbers for zero. Weight decay leaves many of them in
// weights, and the processor is up to a hundred times slower with them; no logit changes by more
// than 1e-30.
class DenormalsAreZero {
 public:
  DenormalsAreZero();
  ~DenormalsAreZero();
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
  uint64_t before_ = 0;
};

}  // namespace llmcf::serve::kernels
