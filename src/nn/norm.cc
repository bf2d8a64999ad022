#include "nn/norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/vectors.h"

namespace llmcf::nn {

namespace {

constexpr int64_t kRows = 256;  // one task; fixed, so that sums do not depend on the threads

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, double epsilon) {
    const torch::Tensor in = x.contiguous();
    const int64_t d = weight.numel(), rows = in.numel() / d;
    torch::Tensor out = torch::empty_like(in);
    const torch::Tensor inverse = at::empty({rows}, in.options());
    const auto *from = in.data_ptr<float>(), *w = weight.data_ptr<float>();
    auto *to = out.data_ptr<float>(), *factor = inverse.data_ptr<float>();
    at::parallel_for(0, rows, kRows, [&](int64_t begin, int64_t end) {
      kernels::rms_norm(from + begin * d, w, to + begin * d, factor + begin, end - begin, d,
                        static_cast<float>(epsilon));
    });
    context->save_for_backward({in, weight, inverse});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor dy = gradients[0].contiguous();
    const int64_t d = saved[1].numel(), rows = dy.numel() / d, tasks = (rows + kRows - 1) / kRows;
    torch::Tensor dx = torch::empty_like(dy);
    const torch::Tensor partial = at::zeros({tasks, d}, dy.options());
    const auto *up = dy.data_ptr<float>(), *x = saved[0].data_ptr<float>();
    const auto *w = saved[1].data_ptr<float>(), *inverse = saved[2].data_ptr<float>();
    auto *down = dx.data_ptr<float>(), *sums = partial.data_ptr<float>();
    at::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t begin = task * kRows, count = std::min(kRows, rows - begin);
        kernels::rms_norm_backward(up + begin * d, x + begin * d, w, inverse + begin,
                                   down + begin * d, sums + task * d, count, d);
      }
    });
    return {dx, partial.sum(0), {}};
  }
};

}  // namespace

RmsNormImpl::RmsNormImpl(int64_t width, double epsilon)
    : weight(register_parameter("weight", at::ones({width}))), epsilon_(epsilon) {}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& x) {
  return RmsNormFunction::apply(x, weight, epsilon_);
}

LayerNormImpl::LayerNormImpl(int64_t width, double epsilon)
    : weight(register_parameter("weight", at::ones({width}))),
      bias(register_parameter("bias", at::zeros({width}))),
      epsilon_(epsilon) {}

torch::Tensor LayerNormImpl::forward(const torch::Tensor& x) {
  return at::layer_norm(x, {weight.size(0)}, weight, bias, epsilon_);
}

}  // namespace llmcf::nn
