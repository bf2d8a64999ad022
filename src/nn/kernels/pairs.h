// Loops over pairs: rows with the items of their histories, and the outer products of two vectors.
// Row-major, compact. Not parallel.
#pragma once

#include <cstdint>

namespace llmcf::nn::kernels {

// Events grouped by row: row b's are [offsets[b], offsets[b + 1]), each shows items[e].
struct Events {
  const int32_t* offsets = nullptr;
  const int32_t* items = nullptr;
  int64_t rows = 0;
};

// out[e] = row[b] * item[items[e]], width d.
void event_products(const Events& events, const float* row, const float* item, float* out,
                    int64_t d);
// Adds to drow and ditem.
void event_products_backward(const Events& events, const float* up, const float* row,
                             const float* item, float* drow, float* ditem, int64_t d);

// out[e] = max(0, event[e] + row[b] + item[items[e]])
void event_relu_sums(const Events& events, const float* event, const float* row, const float* item,
                     float* out, int64_t d);
// devent is written (the gradient where `out` is positive), drow and ditem are added to.
void event_relu_sums_backward(const Events& events, const float* up, const float* out,
                              float* devent, float* drow, float* ditem, int64_t d);

// out[b] += sum over its events of weight[e] * item[items[e]]
void weighted_items(const Events& events, const float* weight, const float* item, float* out,
                    int64_t d);
// dweight is written, ditem is added to.
void weighted_items_backward(const Events& events, const float* up, const float* weight,
                             const float* item, float* dweight, float* ditem, int64_t d);

// out[r, f * h + i] = x[r, f] * y[r, i] with x [rows, f_count], y [rows, stride] of which the
// first h columns count.
void outer_products(const float* x, const float* y, float* out, int64_t rows, int64_t f_count,
                    int64_t h, int64_t stride);
// Adds to dx [rows, f_count] and dy [rows, stride], which must not overlap.
void outer_products_backward(const float* up, const float* x, const float* y, float* dx, float* dy,
                             int64_t rows, int64_t f_count, int64_t h, int64_t stride);

// maps [rows, d, o] = max(0, maps); pooled[r, i - from] = sum over d of maps[r, :, i] for the maps
// [from, o). Row r of pooled begins at r * stride.
void relu_pool(float* maps, float* pooled, int64_t rows, int64_t d, int64_t o, int64_t from,
               int64_t stride);
// up [rows, d, o], the gradient of the maps so far, gains that of the sums and loses what the ReLU
// cut; `maps` are the outputs.
void relu_pool_backward(float* up, const float* maps, const float* dpooled, int64_t rows, int64_t d,
                        int64_t o, int64_t from, int64_t stride);

// Scaled dot-product self-attention weights of one sample: qkv [t, 3d] -> weights [heads, t, t],
// softmax of q.k / sqrt(d / heads).
void attention_weights(const float* qkv, float* weights, int64_t t, int64_t heads, int64_t d);
// Adds to the query and key parts of dqkv.
void attention_weights_backward(const float* up, const float* qkv, const float* weights,
                                float* dqkv, int64_t t, int64_t heads, int64_t d);
// Values mixed by weights: -> out [t, d].
void attention_mix(const float* weights, const float* qkv, float* out, int64_t t, int64_t heads,
                   int64_t d);
// dweights is written, the value part of dqkv is added to.
void attention_mix_backward(const float* up, const float* weights, const float* qkv,
                            float* dweights, float* dqkv, int64_t t, int64_t heads, int64_t d);

}  // namespace llmcf::nn::kernels
