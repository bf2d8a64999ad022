#include "nn/field_attention.h"

#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/addmv.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/kernels/pairs.h"

namespace llmcf::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRows = 16;  // one task

// Calls visit(row) for every row of the batch.
template <typename Visit>
void for_each_row(int64_t rows, const Visit& visit) {
  at::parallel_for(0, rows, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      visit(b);
  });
}

class WeightsFunction : public torch::autograd::Function<WeightsFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               int64_t heads) {
    const torch::Tensor qkv = input.contiguous();
    const int64_t B = qkv.size(0), F = qkv.size(1), A = qkv.size(2) / 3;
    torch::Tensor weights = at::empty({B, heads, F, F});
    const auto* from = qkv.data_ptr<float>();
    auto* to = weights.data_ptr<float>();
    for_each_row(B, [&](int64_t b) {
      kernels::attention_weights(from + b * F * 3 * A, to + b * heads * F * F, F, heads, A);
    });
    context->save_for_backward({qkv, weights});
    return weights;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &qkv = saved[0], &weights = saved[1], up = gradients[0].contiguous();
    const int64_t F = qkv.size(1), A = qkv.size(2) / 3, heads = weights.size(1);
    torch::Tensor down = at::zeros(qkv.sizes());
    for_each_row(qkv.size(0), [&](int64_t b) {
      const int64_t row = b * F * 3 * A, square = b * heads * F * F;
      kernels::attention_weights_backward(
          up.data_ptr<float>() + square, qkv.data_ptr<float>() + row,
          weights.data_ptr<float>() + square, down.data_ptr<float>() + row, F, heads, A);
    });
    return {down, {}};
  }
};

class MixFunction : public torch::autograd::Function<MixFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& kept,
                               const torch::Tensor& input) {
    const torch::Tensor weights = kept.contiguous(), qkv = input.contiguous();
    const int64_t B = qkv.size(0), F = qkv.size(1), A = qkv.size(2) / 3, heads = weights.size(1);
    torch::Tensor mixed = at::empty({B, F, A});
    for_each_row(B, [&](int64_t b) {
      kernels::attention_mix(weights.data_ptr<float>() + b * heads * F * F,
                             qkv.data_ptr<float>() + b * F * 3 * A,
                             mixed.data_ptr<float>() + b * F * A, F, heads, A);
    });
    context->save_for_backward({weights, qkv});
    return mixed;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &weights = saved[0], &qkv = saved[1], up = gradients[0].contiguous();
    const int64_t F = qkv.size(1), A = qkv.size(2) / 3, heads = weights.size(1);
    torch::Tensor dweights = at::empty(weights.sizes()), dqkv = at::zeros(qkv.sizes());
    for_each_row(qkv.size(0), [&](int64_t b) {
      const int64_t row = b * F * 3 * A, square = b * heads * F * F;
      kernels::attention_mix_backward(
          up.data_ptr<float>() + b * F * A, weights.data_ptr<float>() + square,
          qkv.data_ptr<float>() + row, dweights.data_ptr<float>() + square,
          dqkv.data_ptr<float>() + row, F, heads, A);
    });
    return {dweights, dqkv};
  }
};

}  // namespace

torch::Tensor field_attention_weights(const torch::Tensor& qkv, int64_t heads) {
  return WeightsFunction::apply(qkv, heads);
}

torch::Tensor field_attention_mix(const torch::Tensor& weights, const torch::Tensor& qkv) {
  return MixFunction::apply(weights, qkv);
}

FieldAttentionImpl::FieldAttentionImpl(int64_t width, int64_t heads, double dropout)
    : heads_(heads), dropout_(dropout) {
  if (heads < 1 || width % heads != 0)
    throw Error(
        fmt::format("FieldAttention: the width {} is not a multiple of {} heads", width, heads));
  in_weight = register_parameter("in_weight", at::zeros({3 * width, width}));
  in_bias = register_parameter("in_bias", at::zeros({3 * width}));
  out = register_module("out", torch::nn::Linear(width, width));
}

torch::Tensor FieldAttentionImpl::forward(const torch::Tensor& x, const torch::nn::Linear& before) {
  torch::Tensor weight = in_weight, bias = in_bias;
  if (!before.is_empty()) {
    bias = at::addmv(in_bias, in_weight, before->bias);
    weight = at::mm(in_weight, before->weight);
  }
  const torch::Tensor qkv = at::linear(x, weight, bias);  // [B, F, 3A]
  const torch::Tensor weights =
      nn::dropout(field_attention_weights(qkv, heads_), dropout_, is_training());
  return out->forward(field_attention_mix(weights, qkv));
}

void FieldAttentionImpl::initialise(InitKind, Random& random) {
  const auto fans = static_cast<double>(in_weight.size(0) + in_weight.size(1));
  fill_uniform(in_weight, std::sqrt(6.0 / fans), random);
  in_bias.zero_();
}

}  // namespace llmcf::nn
