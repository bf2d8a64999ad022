// Layers of a trained model, packed for serving. A first layer that reads [request, item, context]
// is split: the request's part is computed once per request, the item's part is stored with the
// item, only the context's part is computed per candidate.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "serve/arena.h"
#include "serve/bundle.h"
#include "serve/kernels.h"

namespace llmcf::serve {

// Activations: `count` rows, `stride` floats apart.
struct Matrix {
  float* data = nullptr;
  int64_t count = 0;
  int64_t stride = 0;

  float* row(int64_t index) const { return data + index * stride; }
  // Room for rows of `width` floats, padded as kernels::dense wants it.
  static Matrix make(int64_t count, int64_t width, ScratchArena& arena) {
    const int64_t stride = kernels::padded(width);
    return {arena.floats(count * stride), count, stride};
  }
};

// weight [out, in] and bias [out] of a Linear, with the batch norm behind it (if any) folded in.
struct LinearWeights {
  int64_t out = 0, in = 0;
  std::vector<float> weight, bias;

  // `<name>.weight`, `<name>.bias` (zeros if absent) and `<norm>.*` unless `norm` is empty.
  static LinearWeights of(const Bundle& bundle, const std::string& name,
                          const std::string& norm = "");
};

class Linear {
 public:
  Linear() = default;
  explicit Linear(const LinearWeights& weights);

  int64_t in() const { return weights_.in(); }
  int64_t out() const { return weights_.out(); }
  void apply(const Matrix& x, const Matrix& y, bool relu = false) const;

 private:
  kernels::PackedWeights weights_;
  std::vector<float> bias_;  // padded
};

// Which columns of the weights read what, in the order of the parts' own vectors.
struct SplitColumns {
  std::vector<int64_t> request, item, context;
};

class SplitLinear {
 public:
  SplitLinear() = default;
  SplitLinear(const LinearWeights& weights, const SplitColumns& columns);

  int64_t out() const { return item_.out(); }
  // Both write padded(out) floats.
  void request_half(const float* request, float* out) const;  // with the bias
  void item_half(const float* item, float* out) const;
  // y = act(request half + item halves + context part); context may be empty.
  void apply(const float* request_half, const float* const* item_halves, const Matrix& context,
             const Matrix& y, bool relu) const;

 private:
  kernels::PackedWeights request_, item_, context_;
  std::vector<float> bias_;  // padded
};

// The layers of an nn::Mlp: linear0, linear1, ... below `name`.
class MlpLayers {
 public:
  MlpLayers() = default;
  // Layers [first, end). With `batch_norm`, norm<i> belongs to linear<i>.
  MlpLayers(const Bundle& bundle, const std::string& name, int64_t first, bool batch_norm,
            bool last_activation);

  static int64_t count(const Bundle& bundle, const std::string& name);
  bool empty() const { return layers_.empty(); }
  int64_t out() const { return layers_.back().out(); }
  // Layers in turn; the result lies in the arena (or is x if there are no layers).
  Matrix apply(const Matrix& x, ScratchArena& arena) const;
  // The same for one row of `x` [in] into out [out].
  void apply_row(const float* x, float* out, ScratchArena& arena) const;

 private:
  std::vector<Linear> layers_;
  bool last_activation_ = true;
};

// A split first layer and the others: an Mlp over [request, item, context].
class SplitMlp {
 public:
  SplitMlp() = default;
  SplitMlp(const Bundle& bundle, const std::string& name, const SplitColumns& columns,
           bool batch_norm, bool last_activation);

  const SplitLinear& first() const { return first_; }
  Matrix apply(const float* request_half, const float* const* item_halves, const Matrix& context,
               int64_t count, ScratchArena& arena) const;

 private:
  SplitLinear first_;
  bool first_relu_ = true;
  MlpLayers rest_;
};

// The pointers at `offset` of rows.
const float* const* at_offset(const float* const* rows, int64_t count, int64_t offset,
                              ScratchArena& arena);

}  // namespace llmcf::serve
