#include "serve/scorer/layers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace llmcf::serve {

namespace {

constexpr double kBatchNormEpsilon = 1e-5;

std::vector<float> padded_bias(const std::vector<float>& bias) {
  std::vector<float> padded = bias;
  padded.resize(static_cast<size_t>(kernels::padded(static_cast<int64_t>(bias.size()))));
  return padded;
}

}  // namespace

LinearWeights LinearWeights::of(const Bundle& bundle, const std::string& name,
                                const std::string& norm) {
  const std::vector<int64_t>& shape = bundle.weight_shape(name + ".weight");
  const std::span<const float> weight = bundle.weight(name + ".weight");
  LinearWeights result{.out = shape.at(0),
                       .in = shape.at(1),
                       .weight = {weight.begin(), weight.end()},
                       .bias = std::vector<float>(static_cast<size_t>(shape.at(0)))};
  if (bundle.has_weight(name + ".bias")) {
    const std::span<const float> bias = bundle.weight(name + ".bias");
    result.bias.assign(bias.begin(), bias.end());
  }
  if (norm.empty()) return result;
  const auto gamma = bundle.weight(norm + ".weight"), beta = bundle.weight(norm + ".bias");
  const auto mean = bundle.weight(norm + ".running_mean"),
             variance = bundle.weight(norm + ".running_var");
  for (size_t o = 0; o < result.bias.size(); ++o) {
    const double scale = gamma[o] / std::sqrt(variance[o] + kBatchNormEpsilon);
    for (int64_t i = 0; i < result.in; ++i) {
      float& value = result.weight[o * static_cast<size_t>(result.in) + static_cast<size_t>(i)];
      value = static_cast<float>(value * scale);
    }
    result.bias[o] = static_cast<float>((result.bias[o] - mean[o]) * scale + beta[o]);
  }
  return result;
}

Linear::Linear(const LinearWeights& weights)
    : weights_(weights.weight.data(), weights.out, weights.in), bias_(padded_bias(weights.bias)) {}

void Linear::apply(const Matrix& x, const Matrix& y, bool relu) const {
  kernels::dense(weights_, {.count = x.count,
                            .x = x.data,
                            .x_stride = x.stride,
                            .bias = bias_.data(),
                            .relu = relu,
                            .y = y.data,
                            .y_stride = y.stride});
}

SplitLinear::SplitLinear(const LinearWeights& weights, const SplitColumns& columns)
    : request_(weights.weight.data(), weights.out, weights.in, columns.request),
      item_(weights.weight.data(), weights.out, weights.in, columns.item),
      context_(weights.weight.data(), weights.out, weights.in, columns.context),
      bias_(padded_bias(weights.bias)) {
  const size_t read = columns.request.size() + columns.item.size() + columns.context.size();
  if (static_cast<int64_t>(read) != weights.in)
    throw Error(
        fmt::format("a layer reads {} values, the model's parts have {}: the bundle does "
                    "not belong to this program",
                    weights.in, read));
}

void SplitLinear::request_half(const float* request, float* out) const {
  kernels::dense(request_, {.count = 1,
                            .x = request,
                            .bias = bias_.data(),
                            .y = out,
                            .y_stride = kernels::padded(request_.out())});
}

void SplitLinear::item_half(const float* item, float* out) const {
  kernels::dense(item_,
                 {.count = 1, .x = item, .y = out, .y_stride = kernels::padded(item_.out())});
}

void SplitLinear::apply(const float* request_half, const float* const* item_halves,
                        const Matrix& context, const Matrix& y, bool relu) const {
  kernels::dense(context_, {.count = y.count,
                            .x = context.data,
                            .x_stride = context.stride,
                            .bias = request_half,
                            .addend = item_halves,
                            .relu = relu,
                            .y = y.data,
                            .y_stride = y.stride});
}

int64_t MlpLayers::count(const Bundle& bundle, const std::string& name) {
  int64_t layers = 0;
  while (bundle.has_weight(fmt::format("{}.linear{}.weight", name, layers)))
    ++layers;
  return layers;
}

MlpLayers::MlpLayers(const Bundle& bundle, const std::string& name, int64_t first, bool batch_norm,
                     bool last_activation)
    : last_activation_(last_activation) {
  for (int64_t layer = first; layer < count(bundle, name); ++layer)
    layers_.emplace_back(
        LinearWeights::of(bundle, fmt::format("{}.linear{}", name, layer),
                          batch_norm ? fmt::format("{}.norm{}", name, layer) : ""));
}

Matrix MlpLayers::apply(const Matrix& x, ScratchArena& arena) const {
  Matrix result = x;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const Matrix next = Matrix::make(x.count, layers_[layer].out(), arena);
    layers_[layer].apply(result, next, layer + 1 < layers_.size() || last_activation_);
    result = next;
  }
  return result;
}

void MlpLayers::apply_row(const float* x, float* out, ScratchArena& arena) const {
  const ScratchArena::Scope scope(arena);
  const Matrix row = Matrix::make(1, layers_.front().in(), arena);
  std::copy_n(x, layers_.front().in(), row.data);
  std::copy_n(apply(row, arena).data, this->out(), out);
}

SplitMlp::SplitMlp(const Bundle& bundle, const std::string& name, const SplitColumns& columns,
                   bool batch_norm, bool last_activation)
    : first_(LinearWeights::of(bundle, name + ".linear0", batch_norm ? name + ".norm0" : ""),
             columns),
      first_relu_(last_activation || MlpLayers::count(bundle, name) > 1),
      rest_(bundle, name, 1, batch_norm, last_activation) {}

Matrix SplitMlp::apply(const float* request_half, const float* const* item_halves,
                       const Matrix& context, int64_t count, ScratchArena& arena) const {
  const Matrix first = Matrix::make(count, first_.out(), arena);
  first_.apply(request_half, item_halves, context, first, first_relu_);
  return rest_.apply(first, arena);
}

const float* const* at_offset(const float* const* rows, int64_t count, int64_t offset,
                              ScratchArena& arena) {
  auto* result = arena.array<const float*>(count);
  for (int64_t i = 0; i < count; ++i)
    result[i] = rows[i] + offset;
  return result;
}

}  // namespace llmcf::serve
