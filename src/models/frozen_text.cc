#include "models/frozen_text.h"

#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/kernels/vectors.h"

namespace llmcf::models {

namespace {

constexpr int64_t kRows = 64;

void copy_rows(std::span<const float> table, const std::vector<int32_t>& rows, int64_t width,
               const char* what, float* out) {
  const int64_t limit = static_cast<int64_t>(table.size()) / width;
  for (const int32_t row : rows)
    if (row < 0 || row >= limit)
      throw Error(
          fmt::format("the table of {} has {} rows, the batch asks for row {}", what, limit, row));
  at::parallel_for(0, static_cast<int64_t>(rows.size()), kRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(out + i * width, table.data() + rows[static_cast<size_t>(i)] * width,
                  sizeof(float) * static_cast<size_t>(width));
  });
}

// The pieces of one sample's parts: `count` floats from or to a source.
enum class Piece { kFields, kItemText, kHistoryText };

template <typename Visit>
void for_each_piece(const PartsLayout& layout, int64_t F, int64_t D, int64_t M,
                    const Visit& visit) {
  int64_t offset = 0, field = 0;
  const auto fields_up_to = [&](int64_t end) {
    if (end > field) visit(Piece::kFields, offset, field * D, (end - field) * D);
    offset += (end - field) * D;
    field = end;
  };
  const auto text = [&](Piece piece) {
    visit(piece, offset, int64_t{0}, M);
    offset += M;
  };
  const bool item_first = layout.item_text_before <= layout.history_text_before;
  for (const bool item : {item_first, !item_first}) {
    fields_up_to(item ? layout.item_text_before : layout.history_text_before);
    text(item ? Piece::kItemText : Piece::kHistoryText);
  }
  fields_up_to(F);
}

class PartsFunction : public torch::autograd::Function<PartsFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& samples, const torch::Tensor& text,
                               const torch::Tensor& sample_text, int64_t history_row,
                               int64_t item_before, int64_t history_before) {
    const torch::Tensor values = samples.contiguous(), mapped = text.contiguous();
    const int64_t S = values.size(0), F = values.size(1), D = values.size(2), M = mapped.size(1);
    const int64_t P = F * D + 2 * M;
    torch::Tensor parts = at::empty({S, P});
    const auto *from = values.data_ptr<float>(), *texts = mapped.data_ptr<float>();
    const auto* row = sample_text.data_ptr<int32_t>();
    auto* out = parts.data_ptr<float>();
    at::parallel_for(0, S, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s)
        for_each_piece(
            {item_before, history_before}, F, D, M,
            [&](Piece piece, int64_t offset, int64_t source, int64_t count) {
              const float* in = piece == Piece::kFields     ? from + s * F * D + source
                                : piece == Piece::kItemText ? texts + row[s] * M
                                                            : texts + (history_row + s) * M;
              std::memcpy(out + s * P + offset, in, sizeof(float) * static_cast<size_t>(count));
            });
    });
    context->save_for_backward({sample_text});
    context->saved_data["shape"] =
        std::vector<int64_t>{S, F, D, M, mapped.size(0), history_row, item_before, history_before};
    return parts;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto shape = context->saved_data["shape"].toIntVector();
    const int64_t S = shape[0], F = shape[1], D = shape[2], M = shape[3], history_row = shape[5];
    const PartsLayout layout{shape[6], shape[7]};
    const torch::Tensor up = gradients[0].contiguous();
    torch::Tensor dvalues = at::empty({S, F, D}), dtext = at::zeros({shape[4], M});
    const torch::Tensor sample_text = context->get_saved_variables()[0];
    const auto* row = sample_text.data_ptr<int32_t>();
    const auto* from = up.data_ptr<float>();
    auto *fields = dvalues.data_ptr<float>(), *texts = dtext.data_ptr<float>();
    for (int64_t s = 0; s < S; ++s)
      for_each_piece(layout, F, D, M,
                     [&](Piece piece, int64_t offset, int64_t target, int64_t count) {
                       const float* in = from + s * up.size(1) + offset;
                       if (piece == Piece::kFields)
                         std::memcpy(fields + s * F * D + target, in,
                                     sizeof(float) * static_cast<size_t>(count));
                       else
                         nn::kernels::add_scaled(
                             texts + (piece == Piece::kItemText ? row[s] : history_row + s) * M, in,
                             1.0F, count);
                     });
    return {dvalues, dtext, {}, {}, {}, {}};
  }
};

}  // namespace

FrozenRows FrozenGatherer::gather(const Batch& batch, bool texts, bool cots) {
  const auto T = texts ? static_cast<int64_t>(batch.text_items.size()) : 0;
  const int64_t S = texts ? batch.samples : 0;
  const auto E = cots ? static_cast<int64_t>(batch.example_ids.size()) : 0;
  if (texts && static_cast<int64_t>(batch.history_text.size()) != S * width_)
    throw Error(fmt::format("history_text holds {} values for {} samples of width {}",
                            batch.history_text.size(), S, width_));
  const int64_t rows = T + S + E;
  if (!buffer_.defined() || buffer_.size(0) < rows) buffer_ = at::empty({rows + rows / 4, width_});
  auto* out = buffer_.data_ptr<float>();
  if (texts) {
    copy_rows(frozen_.item_text, batch.text_items, width_, "item texts", out);
    std::memcpy(out + T * width_, batch.history_text.data(),
                sizeof(float) * static_cast<size_t>(S * width_));
  }
  if (cots)
    copy_rows(frozen_.cot, batch.example_ids, width_, "chains of thought", out + (T + S) * width_);
  return {.values = buffer_.narrow(0, 0, rows), .history_row = T, .cot_row = T + S};
}

PartsLayout PartsLayout::of(const FeatureSpec& spec) {
  const auto F = spec.num_fields();
  const auto after_first = [&](FieldRole role) {
    for (int64_t f = 0; f < F; ++f)
      if (spec.fields[static_cast<size_t>(f)].role == role) return f + 1;
    return F;
  };
  return {after_first(FieldRole::kItem), after_first(FieldRole::kHistory)};
}

torch::Tensor assemble_parts(const PartsLayout& layout, const torch::Tensor& samples,
                             const torch::Tensor& text, const std::vector<int32_t>& sample_text,
                             int64_t history_row) {
  const int64_t S = samples.size(0);
  if (static_cast<int64_t>(sample_text.size()) != S)
    throw Error(fmt::format("sample_text names {} texts for {} samples", sample_text.size(), S));
  const torch::Tensor rows =
      at::from_blob(const_cast<int32_t*>(sample_text.data()), {S}, at::kInt);  // NOLINT: read only
  return PartsFunction::apply(samples, text, rows, history_row, layout.item_text_before,
                              layout.history_text_before);
}

}  // namespace llmcf::models
