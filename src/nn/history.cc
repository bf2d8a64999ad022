#include "nn/history.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/pairs.h"

namespace llmcf::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::Events events_of(const torch::Tensor& offsets, const torch::Tensor& items) {
  return {.offsets = offsets.data_ptr<int32_t>(),
          .items = items.data_ptr<int32_t>(),
          .rows = offsets.size(0) - 1};
}

const float* read(const torch::Tensor& tensor) {
  return tensor.data_ptr<float>();
}

class ProductsFunction : public torch::autograd::Function<ProductsFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& rows,
                               const torch::Tensor& values, const torch::Tensor& offsets,
                               const torch::Tensor& items) {
    const torch::Tensor row = rows.contiguous(), item = values.contiguous();
    torch::Tensor out = at::empty({items.size(0), row.size(1)});
    kernels::event_products(events_of(offsets, items), read(row), read(item), out.data_ptr<float>(),
                            row.size(1));
    context->save_for_backward({row, item, offsets, items});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &row = saved[0], &item = saved[1], up = gradients[0].contiguous();
    torch::Tensor drow = at::zeros(row.sizes()), ditem = at::zeros(item.sizes());
    kernels::event_products_backward(events_of(saved[2], saved[3]), read(up), read(row), read(item),
                                     drow.data_ptr<float>(), ditem.data_ptr<float>(), row.size(1));
    return {drow, ditem, {}, {}};
  }
};

class ReluSumsFunction : public torch::autograd::Function<ReluSumsFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& events,
                               const torch::Tensor& rows, const torch::Tensor& values,
                               const torch::Tensor& offsets, const torch::Tensor& items) {
    const torch::Tensor event = events.contiguous(), row = rows.contiguous(),
                        item = values.contiguous();
    torch::Tensor out = at::empty(event.sizes());
    kernels::event_relu_sums(events_of(offsets, items), read(event), read(row), read(item),
                             out.data_ptr<float>(), event.size(1));
    context->save_for_backward({out, offsets, items});
    context->saved_data["distinct"] = item.size(0);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &out = saved[0], up = gradients[0].contiguous();
    const int64_t width = out.size(1);
    torch::Tensor devent = at::empty(out.sizes()), drow = at::zeros({saved[1].size(0) - 1, width}),
                  ditem = at::zeros({context->saved_data["distinct"].toInt(), width});
    kernels::event_relu_sums_backward(events_of(saved[1], saved[2]), read(up), read(out),
                                      devent.data_ptr<float>(), drow.data_ptr<float>(),
                                      ditem.data_ptr<float>(), width);
    return {devent, drow, ditem, {}, {}};
  }
};

class WeightedItemsFunction : public torch::autograd::Function<WeightedItemsFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& weights,
                               const torch::Tensor& values, const torch::Tensor& offsets,
                               const torch::Tensor& items) {
    const torch::Tensor weight = weights.contiguous(), item = values.contiguous();
    torch::Tensor out = at::zeros({offsets.size(0) - 1, item.size(1)});
    kernels::weighted_items(events_of(offsets, items), read(weight), read(item),
                            out.data_ptr<float>(), item.size(1));
    context->save_for_backward({weight, item, offsets, items});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &weight = saved[0], &item = saved[1], up = gradients[0].contiguous();
    torch::Tensor dweight = at::empty(weight.sizes()), ditem = at::zeros(item.sizes());
    kernels::weighted_items_backward(events_of(saved[2], saved[3]), read(up), read(weight),
                                     read(item), dweight.data_ptr<float>(), ditem.data_ptr<float>(),
                                     item.size(1));
    return {dweight, ditem, {}, {}};
  }
};

}  // namespace

Histories Histories::of(const std::vector<int32_t>& offsets, const std::vector<int32_t>& items) {
  const auto view = [](const std::vector<int32_t>& values) {
    return at::from_blob(const_cast<int32_t*>(values.data()),  // NOLINT: read only
                         {static_cast<int64_t>(values.size())}, at::kInt);
  };
  LLMCF_ASSERT(!offsets.empty() && offsets.back() == static_cast<int32_t>(items.size()));
  return {view(offsets), items.empty() ? at::empty({0}, at::kInt) : view(items)};
}

torch::Tensor event_products(const Histories& histories, const torch::Tensor& row,
                             const torch::Tensor& item) {
  return ProductsFunction::apply(row, item, histories.offsets, histories.items);
}

torch::Tensor event_relu_sums(const Histories& histories, const torch::Tensor& event,
                              const torch::Tensor& row, const torch::Tensor& item) {
  return ReluSumsFunction::apply(event, row, item, histories.offsets, histories.items);
}

torch::Tensor weighted_items(const Histories& histories, const torch::Tensor& weight,
                             const torch::Tensor& item) {
  return WeightedItemsFunction::apply(weight, item, histories.offsets, histories.items);
}

}  // namespace llmcf::nn
