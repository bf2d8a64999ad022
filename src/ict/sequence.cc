#include "ict/sequence.h"

#include <cstring>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/kernels/vectors.h"

namespace llmcf::ict {

namespace {

enum class Source { kFeature, kCot, kLabel };

struct Place {
  Source source;
  int64_t row;       // of the source
  int64_t position;  // b * T + t
};

// Calls visit(Place) for every token that is not masked.
template <typename Visit>
void for_each_token(const SequenceLayout& layout, const Slots& slots, int64_t cot_row,
                    const Visit& visit) {
  const int64_t B = slots.queries(), K = slots.count(), T = layout.tokens(K);
  const auto* slot = slots.slot.data_ptr<int32_t>();
  const int32_t* label = layout.label && K > 0 ? slots.label.data_ptr<int32_t>() : nullptr;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      const int32_t example = slot[b * K + k];
      if (example < 0) continue;
      int64_t position = b * T + k * layout.step();
      if (layout.feature) visit(Place{Source::kFeature, B + example, position++});
      if (layout.cot) visit(Place{Source::kCot, cot_row + example, position++});
      if (layout.label) visit(Place{Source::kLabel, label[example], position++});
    }
    if (layout.query) visit(Place{Source::kFeature, b, b * T + T - 1});
  }
}

class AssembleFunction : public torch::autograd::Function<AssembleFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& feature, const torch::Tensor& text,
                               const torch::Tensor& label_table, const torch::Tensor& slot,
                               const torch::Tensor& label, int64_t layout_bits, int64_t cot_row) {
    const SequenceLayout layout = unpack(layout_bits);
    const Slots slots{slot, label};
    const std::vector<torch::Tensor> sources = {feature.contiguous(), text.contiguous(),
                                                label_table.contiguous()};
    const int64_t d = width_of(sources);
    torch::Tensor tokens = at::zeros({slots.queries(), layout.tokens(slots.count()), d});
    auto* out = tokens.data_ptr<float>();
    const float* from[3] = {};
    for (size_t i = 0; i < 3; ++i)
      if (sources[i].numel() > 0) from[i] = sources[i].data_ptr<float>();
    for_each_token(layout, slots, cot_row, [&](const Place& place) {
      std::memcpy(out + place.position * d, from[static_cast<size_t>(place.source)] + place.row * d,
                  sizeof(float) * static_cast<size_t>(d));
    });
    context->save_for_backward({slot, label});
    context->saved_data["layout"] = layout_bits;
    context->saved_data["cot_row"] = cot_row;
    for (size_t i = 0; i < 3; ++i)
      context->saved_data[kRows[i]] = sources[i].numel() > 0 ? sources[i].size(0) : int64_t{0};
    return tokens;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor up = gradients[0].contiguous();
    const int64_t d = up.size(2);
    torch::Tensor down[3];
    float* to[3] = {};
    for (size_t i = 0; i < 3; ++i) {
      const int64_t rows = context->saved_data[kRows[i]].toInt();
      if (rows == 0) continue;
      down[i] = at::zeros({rows, d});
      to[i] = down[i].data_ptr<float>();
    }
    const auto* from = up.data_ptr<float>();
    for_each_token(unpack(context->saved_data["layout"].toInt()), Slots{saved[0], saved[1]},
                   context->saved_data["cot_row"].toInt(), [&](const Place& place) {
                     nn::kernels::add_scaled(to[static_cast<size_t>(place.source)] + place.row * d,
                                             from + place.position * d, 1.0F, d);
                   });
    return {down[0], down[1], down[2], {}, {}, {}, {}};
  }

  static int64_t pack(const SequenceLayout& layout) {
    return layout.feature | layout.cot << 1 | layout.label << 2 | layout.query << 3;
  }

 private:
  static constexpr const char* kRows[3] = {"features", "texts", "labels"};

  static SequenceLayout unpack(int64_t bits) {
    return {.feature = (bits & 1) != 0,
            .cot = (bits & 2) != 0,
            .label = (bits & 4) != 0,
            .query = (bits & 8) != 0};
  }

  static int64_t width_of(const std::vector<torch::Tensor>& sources) {
    for (const torch::Tensor& source : sources)
      if (source.numel() > 0) return source.size(1);
    return 0;
  }
};

}  // namespace

void check_slots(const Slots& slots) {
  const auto* slot = slots.slot.data_ptr<int32_t>();
  const int64_t B = slots.queries(), K = slots.count(), examples = slots.label.numel();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      const int32_t example = slot[b * K + k];
      if (example >= examples)
        throw Error(fmt::format("query {} slot {} shows example {}, the batch has {}", b, k,
                                example, examples));
      if (example < 0 && k > 0 && slot[b * K + k - 1] >= 0)
        throw Error(
            fmt::format("query {} slot {} is masked behind a used slot: masked slots come "
                        "first",
                        b, k));
    }
  }
}

torch::Tensor masked_tokens(const Slots& slots, const SequenceLayout& layout) {
  const int64_t B = slots.queries(), K = slots.count();
  torch::Tensor masked = at::empty({B}, at::kInt);
  const auto* slot = slots.slot.data_ptr<int32_t>();
  auto* out = masked.data_ptr<int32_t>();
  for (int64_t b = 0; b < B; ++b) {
    int64_t first = 0;
    while (first < K && slot[b * K + first] < 0)
      ++first;
    out[b] = static_cast<int32_t>(first * layout.step());
  }
  return masked;
}

torch::Tensor assemble(const SequenceLayout& layout, const Slots& slots,
                       const torch::Tensor& feature, const torch::Tensor& text, int64_t cot_row,
                       const torch::Tensor& label) {
  const bool shows_examples = slots.count() > 0;
  const torch::Tensor none = at::empty({0});  // libtorch 1.13 takes no undefined tensors here
  return AssembleFunction::apply(layout.feature || layout.query ? feature : none,
                                 layout.cot && shows_examples ? text : none,
                                 layout.label && shows_examples ? label : none, slots.slot,
                                 slots.label, AssembleFunction::pack(layout), cot_row);
}

torch::Tensor mean_token(const torch::Tensor& tokens, const torch::Tensor& masked) {
  const int64_t T = tokens.size(1);
  const torch::Tensor seen = (T - masked).clamp_min(1).to(at::kFloat);
  return tokens.sum(1) / seen.unsqueeze(1);
}

}  // namespace llmcf::ict
