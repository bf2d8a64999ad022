#include "llm/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace llmcf::llm {

namespace {

using Run = std::function<torch::Tensor(const torch::Tensor&)>;

// Carries the function through autograd's saved data.
struct Holder : torch::CustomClassHolder {
  explicit Holder(Run function) : run(std::move(function)) {}
  Run run;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& input, const Run& run) {
    context->save_for_backward({input});
    context->saved_data["run"] = torch::IValue::make_capsule(c10::make_intrusive<Holder>(run));
    const torch::NoGradGuard no_gradients;
    return run(input);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::AutoGradMode with_gradients(true);
    const torch::Tensor input = context->get_saved_variables()[0].detach();
    input.set_requires_grad(true);
    const auto holder =
        c10::static_intrusive_pointer_cast<Holder>(context->saved_data["run"].toCapsule());
    const torch::Tensor output = holder->run(input);
    output.backward(gradients[0]);  // parameters gather theirs here
    return {input.grad(), {}};
  }
};

}  // namespace

torch::Tensor recomputed(Run run, const torch::Tensor& input) {
  // Autograd builds a node only for an input that wants gradients.
  const torch::Tensor x = input.requires_grad() ? input : input.detach().requires_grad_(true);
  return Recompute::apply(x, run);
}

}  // namespace llmcf::llm
