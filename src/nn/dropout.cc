#include "nn/dropout.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/kernels/vectors.h"

namespace llmcf::nn {

namespace {

thread_local DropoutScope* current_scope = nullptr;

constexpr int64_t kGrain = 16384;

torch::Tensor masked(const torch::Tensor& x, double p, uint64_t key) {
  const torch::Tensor in = x.contiguous();
  torch::Tensor out = torch::empty_like(in);
  const float* from = in.data_ptr<float>();
  auto* to = out.data_ptr<float>();
  at::parallel_for(0, in.numel(), kGrain, [&](int64_t begin, int64_t end) {
    kernels::dropout(from + begin, to + begin, begin, end - begin, static_cast<float>(p), key);
  });
  return out;
}

class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               double p, int64_t key) {
    context->saved_data["p"] = p;
    context->saved_data["key"] = key;
    return masked(x, p, static_cast<uint64_t>(key));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto key = static_cast<uint64_t>(context->saved_data["key"].toInt());
    return {masked(gradients[0], context->saved_data["p"].toDouble(), key), {}, {}};
  }
};

}  // namespace

DropoutScope::DropoutScope(uint64_t seed, int64_t step)
    : seed_(seed), step_(step), outer_(current_scope) {
  current_scope = this;
}

DropoutScope::~DropoutScope() {
  current_scope = outer_;
}

uint64_t DropoutScope::next_key() {
  Random random(seed_ + 0x9E3779B97F4A7C15ULL * static_cast<uint64_t>(step_ + 1), "dropout");
  uint64_t key = random.next();
  for (uint64_t call = 0; call < calls_; ++call)
    key = random.next();
  ++calls_;
  return key;
}

torch::Tensor dropout(const torch::Tensor& x, double p, bool training) {
  if (!training || p == 0.0) return x;
  LLMCF_ASSERT(current_scope != nullptr);
  const uint64_t key = current_scope->next_key();
  // A frozen input needs no node in the graph.
  if (!x.requires_grad()) return masked(x, p, key);
  return DropoutFunction::apply(x, p, static_cast<int64_t>(key));
}

}  // namespace llmcf::nn
