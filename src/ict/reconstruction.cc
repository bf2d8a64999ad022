#include "ict/reconstruction.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/vectors.h"

namespace llmcf::ict {

namespace {

constexpr int64_t kRows = 32;
constexpr float kEpsilon = 1e-8F;  // smallest product of norms, as in cosine_similarity

class CosineFunction : public torch::autograd::Function<CosineFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& predicted, const torch::Tensor& frozen,
                               const torch::Tensor& slot) {
    const torch::Tensor r = predicted.contiguous();
    const int64_t N = r.size(0), W = r.size(1);
    // Per row: cosine, 1 / (|r| |c|), 1 / |r|^2.
    const torch::Tensor kept = at::empty({N, 3});
    const auto *rows = r.data_ptr<float>(), *targets = frozen.data_ptr<float>();
    const auto* example = slot.data_ptr<int32_t>();
    auto* out = kept.data_ptr<float>();
    at::parallel_for(0, N, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (example[i] < 0) continue;
        const auto p = nn::kernels::products(rows + i * W, targets + example[i] * W, W);
        const float norms = std::max(std::sqrt(p.aa) * std::sqrt(p.bb), kEpsilon);
        out[i * 3] = p.ab / norms;
        out[i * 3 + 1] = 1.0F / norms;
        out[i * 3 + 2] = 1.0F / std::max(p.aa, kEpsilon * kEpsilon);
      }
    });
    double sum = 0;
    int64_t used = 0;
    for (int64_t i = 0; i < N; ++i) {
      if (example[i] < 0) continue;
      sum += out[i * 3];
      ++used;
    }
    context->save_for_backward({r, frozen, slot, kept});
    context->saved_data["used"] = used;
    const double loss = used == 0 ? 0.0 : 1.0 - sum / static_cast<double>(used);
    return at::full({}, loss, r.options());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& r = saved[0];
    const int64_t N = r.size(0), W = r.size(1), used = context->saved_data["used"].toInt();
    if (used == 0) return {at::zeros_like(r), {}, {}};
    torch::Tensor down = torch::empty_like(r);
    const auto *rows = r.data_ptr<float>(), *targets = saved[1].data_ptr<float>();
    const auto* example = saved[2].data_ptr<int32_t>();
    const auto* kept = saved[3].data_ptr<float>();
    auto* to = down.data_ptr<float>();
    const float up = -gradients[0].item<float>() / static_cast<float>(used);
    at::parallel_for(0, N, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (example[i] < 0) {
          std::fill_n(to + i * W, W, 0.0F);
          continue;
        }
        const float cosine = kept[i * 3], inverse = kept[i * 3 + 1], square = kept[i * 3 + 2];
        nn::kernels::combine(to + i * W, targets + example[i] * W, up * inverse, rows + i * W,
                             -up * cosine * square, W);
      }
    });
    return {down, {}, {}};
  }
};

}  // namespace

torch::Tensor reconstruction_loss(const torch::Tensor& predicted, const torch::Tensor& frozen,
                                  const torch::Tensor& slot) {
  LLMCF_ASSERT(predicted.size(0) == slot.numel() && slot.is_contiguous());
  LLMCF_ASSERT(frozen.is_contiguous());
  return CosineFunction::apply(predicted, frozen, slot);
}

}  // namespace llmcf::ict
