#include "nn/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/vectors.h"

namespace llmcf::nn {

namespace {

constexpr int64_t kSequences = 16;  // one task
constexpr int64_t kRows = 256;

using kernels::AttentionShape;

AttentionShape shape_of(const torch::Tensor& qkv, int64_t heads, int64_t first, int64_t stride) {
  return {.tokens = qkv.size(1),
          .heads = heads,
          .head_dim = qkv.size(2) / 3 / heads,
          .first = first,
          .stride = stride};
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& input, const torch::Tensor& masked,
                               int64_t heads, int64_t first, int64_t stride) {
    const torch::Tensor qkv = input.contiguous();
    const AttentionShape shape = shape_of(qkv, heads, first, stride);
    const kernels::RotaryTable rotary(shape.tokens, shape.head_dim);
    const int64_t B = qkv.size(0), T = shape.tokens, P = shape.outputs(), d = shape.width();
    torch::Tensor output = at::empty({B, P, d}, qkv.options());
    const torch::Tensor weights = at::empty({B, heads, P, T}, qkv.options());
    const auto* from = qkv.data_ptr<float>();
    auto *to = output.data_ptr<float>(), *kept = weights.data_ptr<float>();
    const int32_t* start = masked.data_ptr<int32_t>();
    at::parallel_for(0, B, kSequences, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(2 * T * d));
      for (int64_t b = begin; b < end; ++b)
        kernels::attention(shape, rotary, start[b], from + b * T * 3 * d, to + b * P * d,
                           kept + b * heads * P * T, scratch.data());
    });
    context->save_for_backward({qkv, weights, masked});
    context->saved_data["heads"] = heads;
    context->saved_data["first"] = first;
    context->saved_data["stride"] = stride;
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &qkv = saved[0], &weights = saved[1], up = gradients[0].contiguous();
    const AttentionShape shape =
        shape_of(qkv, context->saved_data["heads"].toInt(), context->saved_data["first"].toInt(),
                 context->saved_data["stride"].toInt());
    const kernels::RotaryTable rotary(shape.tokens, shape.head_dim);
    const int64_t B = qkv.size(0), T = shape.tokens, P = shape.outputs(), d = shape.width();
    torch::Tensor down = torch::empty_like(qkv);
    const auto *from = qkv.data_ptr<float>(), *dy = up.data_ptr<float>();
    const auto* kept = weights.data_ptr<float>();
    auto* to = down.data_ptr<float>();
    const int32_t* start = saved[2].data_ptr<int32_t>();
    at::parallel_for(0, B, kSequences, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(5 * T * d));
      for (int64_t b = begin; b < end; ++b)
        kernels::attention_backward(shape, rotary, start[b], dy + b * P * d, from + b * T * 3 * d,
                                    kept + b * shape.heads * P * T, to + b * T * 3 * d,
                                    scratch.data());
    });
    return {down, {}, {}, {}, {}};
  }
};

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& ab) {
    const torch::Tensor in = ab.contiguous();
    const int64_t rows = in.size(0), h = in.size(1) / 2;
    torch::Tensor out = at::empty({rows, h}, in.options());
    const auto* from = in.data_ptr<float>();
    auto* to = out.data_ptr<float>();
    at::parallel_for(0, rows, kRows, [&](int64_t begin, int64_t end) {
      kernels::swiglu(from + begin * 2 * h, to + begin * h, end - begin, h);
    });
    context->save_for_backward({in});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::Tensor in = context->get_saved_variables()[0], dy = gradients[0].contiguous();
    const int64_t rows = in.size(0), h = in.size(1) / 2;
    torch::Tensor dx = torch::empty_like(in);
    const auto *from = in.data_ptr<float>(), *up = dy.data_ptr<float>();
    auto* down = dx.data_ptr<float>();
    at::parallel_for(0, rows, kRows, [&](int64_t begin, int64_t end) {
      kernels::swiglu_backward(up + begin * h, from + begin * 2 * h, down + begin * 2 * h,
                               end - begin, h);
    });
    return {dx};
  }
};

int64_t paper_hidden(int64_t width) {
  return (4 * width / 3 + 31) / 32 * 32;
}

torch::nn::Linear unbiased(int64_t in, int64_t out) {
  return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(false));
}

}  // namespace

torch::Tensor causal_attention(const torch::Tensor& qkv, const torch::Tensor& masked, int64_t heads,
                               Positions positions) {
  LLMCF_ASSERT(masked.numel() == qkv.size(0) && masked.is_contiguous());
  return AttentionFunction::apply(qkv, masked, heads, positions.first, positions.stride);
}

torch::Tensor swiglu(const torch::Tensor& ab) {
  return SwigluFunction::apply(ab);
}

CausalBlockImpl::CausalBlockImpl(const BlockOptions& opts) : options(opts) {
  const int64_t d = options.width;
  if (options.heads < 1 || d % (2 * options.heads) != 0)
    throw Error(
        fmt::format("CausalBlock: width {} is not a multiple of 2 x {} heads", d, options.heads));
  if (options.hidden == 0) options.hidden = paper_hidden(d);
  attention_norm = register_module("attention_norm", RmsNorm(d, options.epsilon));
  wq = register_module("wq", unbiased(d, d));
  wk = register_module("wk", unbiased(d, d));
  wv = register_module("wv", unbiased(d, d));
  wo = register_module("wo", unbiased(d, d));
  feed_forward_norm = register_module("feed_forward_norm", RmsNorm(d, options.epsilon));
  w1 = register_module("w1", unbiased(d, options.hidden));
  w2 = register_module("w2", unbiased(options.hidden, d));
  w3 = register_module("w3", unbiased(d, options.hidden));
}

torch::Tensor CausalBlockImpl::forward(const torch::Tensor& h, const torch::Tensor& masked,
                                       Positions positions) {
  const int64_t B = h.size(0), T = h.size(1), d = h.size(2);
  const torch::Tensor weight = at::cat({wq->weight, wk->weight, wv->weight});  // [3d, d]
  const torch::Tensor qkv =
      at::linear(attention_norm->forward(h).view({B * T, d}), weight).view({B, T, 3 * d});
  const torch::Tensor attended = causal_attention(qkv, masked, options.heads, positions);
  const bool all = positions.first == 0 && positions.stride == 1;
  const torch::Tensor kept = all ? h : h.slice(1, positions.first, T, positions.stride);
  const torch::Tensor middle = (kept + wo->forward(attended)).view({-1, d});  // [B P, d]
  const torch::Tensor gates = at::cat({w1->weight, w3->weight});              // [2h, d]
  const torch::Tensor n = feed_forward_norm->forward(middle);
  const torch::Tensor out = middle + at::linear(swiglu(at::linear(n, gates)), w2->weight);
  return out.view({B, -1, d});
}

}  // namespace llmcf::nn
