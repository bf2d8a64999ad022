#include "nn/embedding.h"

#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/kernels/bags.h"
#include "nn/row_updaters.h"

namespace llmcf::nn {

namespace {

constexpr int64_t kSamples = 32;  // one task of the forward pass
constexpr int64_t kColumns = 16;  // one task of the backward pass

std::vector<kernels::BagField> bag_fields(const PooledBatch& batch) {
  std::vector<kernels::BagField> fields;
  for (const PooledField& field : batch.fields)
    fields.push_back({.offsets = field.offsets->data(),
                      .ids = field.ids->data(),
                      .weights = field.weights->empty() ? nullptr : field.weights->data(),
                      .table = field.table,
                      .first_order = field.first_order});
  return fields;
}

class PoolFunction : public torch::autograd::Function<PoolFunction> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                at::TensorList slabs, const PooledBatch* batch,
                                                bool all_samples) {
    const auto fields = bag_fields(*batch);
    const auto F = static_cast<int64_t>(fields.size());
    const int64_t d = batch->dim, B = batch->queries, S = all_samples ? batch->samples : B;
    std::vector<kernels::SlabView> views;
    for (const torch::Tensor& slab : slabs)
      views.push_back({.values = slab.data_ptr<float>(), .width = slab.size(1)});
    torch::Tensor queries = at::empty({B, F, d}), first = at::empty({B}), samples;
    if (all_samples) samples = at::empty({S, F, d});
    auto* out = (all_samples ? samples : queries).data_ptr<float>();
    auto* linear = first.data_ptr<float>();
    at::parallel_for(0, S, kSamples, [&](int64_t begin, int64_t end) {
      kernels::pool_bags(fields.data(), F, views.data(), d, out, begin, end);
      const int64_t last = std::min(end, B);
      if (begin < last)
        kernels::pool_first_order(fields.data(), F, views.data(), d, linear, begin, last);
    });
    if (all_samples)
      std::memcpy(queries.data_ptr<float>(), out, sizeof(float) * static_cast<size_t>(B * F * d));
    context->save_for_backward(slabs.vec());
    context->saved_data["batch"] = reinterpret_cast<int64_t>(batch);  // NOLINT: holds no pointers
    if (!all_samples) return {queries, first};
    return {queries, first, samples};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto* batch =
        reinterpret_cast<const PooledBatch*>(context->saved_data["batch"].toInt());  // NOLINT
    const auto slabs = context->get_saved_variables();
    torch::autograd::variable_list down;
    std::vector<kernels::SlabView> views;
    for (size_t t = 0; t < slabs.size(); ++t) {
      down.push_back(at::zeros(slabs[t].sizes()));
      views.push_back(
          {.values = nullptr, .width = slabs[t].size(1), .frozen_row = batch->frozen_rows[t]});
    }
    for (torch::Tensor& gradient : gradients)
      if (gradient.defined()) gradient = gradient.contiguous();
    spread(*batch, views, gradients, down);
    down.emplace_back();
    down.emplace_back();
    return down;
  }

 private:
  // Tasks are blocks of columns (the first-order column is one more): no two touch the same value.
  static void spread(const PooledBatch& batch, const std::vector<kernels::SlabView>& views,
                     const torch::autograd::variable_list& gradients,
                     const torch::autograd::variable_list& down) {
    const auto fields = bag_fields(batch);
    const auto F = static_cast<int64_t>(fields.size());
    const int64_t d = batch.dim, blocks = (d + kColumns - 1) / kColumns;
    at::parallel_for(0, blocks + 1, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        for (int64_t f = 0; f < F; ++f) {
          const kernels::BagField& field = fields[static_cast<size_t>(f)];
          const auto table = static_cast<size_t>(field.table);
          auto* to = down[table].data_ptr<float>();
          if (block == blocks) {
            if (field.first_order && gradients[1].defined())
              kernels::pool_bags_backward(field, views[table], gradients[1].data_ptr<float>() - d,
                                          1, d, d + 1, 0, batch.queries, to);
            continue;
          }
          const int64_t from = block * kColumns, end = std::min(d, from + kColumns);
          const auto add = [&](const torch::Tensor& gradient, int64_t count) {
            if (gradient.defined())
              kernels::pool_bags_backward(field, views[table], gradient.data_ptr<float>() + f * d,
                                          F * d, from, end, 0, count, to);
          };
          add(gradients[0], batch.queries);
          if (gradients.size() > 2) add(gradients[2], batch.samples);
        }
      }
    });
  }
};

}  // namespace

EmbeddingTable::EmbeddingTable(std::string name, int64_t rows, int64_t dim, bool first_order)
    : name_(std::move(name)), dim_(dim), values_(at::zeros({rows, dim + (first_order ? 1 : 0)})) {}

torch::Tensor EmbeddingTable::embedding() const {
  return values_.narrow(1, 0, dim_);
}

torch::Tensor EmbeddingTable::first_order() const {
  return values_.narrow(1, dim_, 1);
}

void EmbeddingTable::initialise(InitKind kind, uint64_t seed, bool zero_padding) {
  const torch::Tensor columns = at::empty({rows(), dim_});
  fill_embedding(columns, kind, seed, name_);
  embedding().copy_(columns);
  if (has_first_order()) {
    const torch::Tensor linear = at::empty({rows(), 1});
    fill_embedding(linear, kind, seed, name_ + ".first_order");
    first_order().copy_(linear);
  }
  if (zero_padding || kind == InitKind::kDefault) values_[0].zero_();
}

torch::Tensor EmbeddingTable::gather(const std::vector<int32_t>& rows, bool gradients) {
  if (!rows.empty() && (rows.front() < 0 || rows.back() >= this->rows()))
    throw Error(fmt::format("table '{}' has rows 0 to {}, the batch asks for rows {} to {}", name_,
                            this->rows() - 1, rows.front(), rows.back()));
  const int64_t row_width = width();
  torch::Tensor slab = at::empty({static_cast<int64_t>(rows.size()), row_width});
  auto* to = slab.data_ptr<float>();
  const auto* from = values_.data_ptr<float>();
  const auto bytes = sizeof(float) * static_cast<size_t>(row_width);
  at::parallel_for(0, slab.size(0), 256, [&](int64_t begin, int64_t end) {
    const auto part =
        std::span(rows).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    if (updater_ != nullptr) updater_->catch_up(part);
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + i * row_width, from + rows[static_cast<size_t>(i)] * row_width, bytes);
  });
  return slab.set_requires_grad(gradients);
}

Pooled pool(const std::vector<torch::Tensor>& slabs, const PooledBatch& batch, bool all_samples) {
  const auto outputs = PoolFunction::apply(at::TensorList(slabs), &batch, all_samples);
  return {.queries = outputs[0],
          .samples = all_samples ? outputs[2] : torch::Tensor(),
          .first_order = outputs[1]};
}

}  // namespace llmcf::nn
