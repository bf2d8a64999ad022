#include "nn/fm.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/vectors.h"

namespace llmcf::nn {

namespace {

class FmFunction : public torch::autograd::Function<FmFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& fields) {
    const torch::Tensor in = fields.contiguous();
    torch::Tensor out = at::empty({in.size(0)}, in.options());
    kernels::fm(in.data_ptr<float>(), out.data_ptr<float>(), in.size(0), in.size(1), in.size(2));
    context->save_for_backward({in});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::Tensor in = context->get_saved_variables()[0], up = gradients[0].contiguous();
    torch::Tensor down = torch::empty_like(in);
    kernels::fm_backward(up.data_ptr<float>(), in.data_ptr<float>(), down.data_ptr<float>(),
                         in.size(0), in.size(1), in.size(2));
    return {down};
  }
};

}  // namespace

torch::Tensor factorisation_machine(const torch::Tensor& fields) {
  return FmFunction::apply(fields);
}

}  // namespace llmcf::nn
