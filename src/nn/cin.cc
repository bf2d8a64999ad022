// Maps are kept as [B D, O]: each layer is one matrix product over the outer products of a block of
// rows, which stay in the cache.
#include "nn/cin.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/pairs.h"

namespace llmcf::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows of B D at a time. Several threads share each product: larger ones, to meet less often.
int64_t block_rows() {
  const int64_t threads = at::get_num_threads();
  return threads > 1 ? 1024 * threads : 256;
}

// Per layer: handed_on, pooled_from.
using Shape = std::vector<int64_t>;

// What a layer reads: the first `count` columns of a matrix.
struct Maps {
  torch::Tensor values;  // [N, stride]
  int64_t count = 0;
  int64_t stride() const { return values.size(1); }
};

Maps input_of(size_t layer, const torch::Tensor& x, const std::vector<torch::Tensor>& outputs,
              const Shape& shape) {
  if (layer == 0) return {x, x.size(1)};
  return {outputs[layer - 1], shape[2 * (layer - 1)]};
}

torch::Tensor products(const torch::Tensor& x, const Maps& maps, int64_t begin, int64_t rows) {
  const int64_t F = x.size(1);
  torch::Tensor z = at::empty({rows, F * maps.count});
  kernels::outer_products(x.data_ptr<float>() + begin * F,
                          maps.values.data_ptr<float>() + begin * maps.stride(),
                          z.data_ptr<float>(), rows, F, maps.count, maps.stride());
  return z;
}

class CinFunction : public torch::autograd::Function<CinFunction> {
 public:
  // parameters: weight and bias of each layer in turn.
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& fields,
                               at::TensorList parameters, const Shape& shape) {
    const int64_t B = fields.size(0), F = fields.size(1), D = fields.size(2), N = B * D;
    const int64_t block = block_rows();
    const torch::Tensor x = fields.transpose(1, 2).contiguous().view({N, F});
    std::vector<torch::Tensor> outputs;
    torch::Tensor pooled = at::empty({B, pooled_width(parameters, shape)});
    int64_t column = 0;
    for (size_t layer = 0; layer < parameters.size() / 2; ++layer) {
      const torch::Tensor weight = parameters[2 * layer].t();
      const torch::Tensor bias = parameters[2 * layer + 1];
      const Maps maps = input_of(layer, x, outputs, shape);
      torch::Tensor out = at::empty({N, bias.size(0)});
      for (int64_t begin = 0; begin < N; begin += block) {
        const int64_t rows = std::min(block, N - begin);
        torch::Tensor part = out.narrow(0, begin, rows);
        at::addmm_out(part, bias, products(x, maps, begin, rows), weight);
      }
      const int64_t from = shape[2 * layer + 1];
      kernels::relu_pool(out.data_ptr<float>(), pooled.data_ptr<float>() + column, B, D,
                         out.size(1), from, pooled.size(1));
      column += out.size(1) - from;
      outputs.push_back(out);
    }
    variable_list saved = {x};
    saved.insert(saved.end(), outputs.begin(), outputs.end());
    for (const torch::Tensor& parameter : parameters)
      saved.push_back(parameter);
    context->save_for_backward(saved);
    context->saved_data["shape"] = shape;
    context->saved_data["rows"] = B;
    return pooled;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Shape shape = context->saved_data["shape"].toIntVector();
    const int64_t B = context->saved_data["rows"].toInt();
    const size_t layers = shape.size() / 2;
    const torch::Tensor& x = saved[0];
    const std::vector<torch::Tensor> outputs(saved.begin() + 1,
                                             saved.begin() + 1 + static_cast<int64_t>(layers));
    const int64_t N = x.size(0), F = x.size(1), D = N / std::max<int64_t>(B, 1);
    torch::Tensor dx = at::zeros({N, F}), dmaps;
    variable_list down(2 * layers + 1);
    const torch::Tensor dpooled = gradients[0].contiguous();
    int64_t column = dpooled.size(1);
    for (size_t layer = layers; layer-- > 0;) {
      const torch::Tensor& out = outputs[layer];
      const int64_t from = shape[2 * layer + 1];
      const torch::Tensor up = dmaps.defined() ? dmaps : at::zeros(out.sizes());
      column -= out.size(1) - from;
      kernels::relu_pool_backward(up.data_ptr<float>(), out.data_ptr<float>(),
                                  dpooled.data_ptr<float>() + column, B, D, out.size(1), from,
                                  dpooled.size(1));
      const torch::Tensor& weight = saved[1 + layers + 2 * layer];
      const Maps maps = input_of(layer, x, outputs, shape);
      dmaps = at::zeros(maps.values.sizes());  // never dx, which the kernel writes beside it
      down[1 + 2 * layer] = spread(x, maps, weight, up, dx, dmaps);
      down[2 + 2 * layer] = up.sum(0);
    }
    if (dmaps.defined()) dx.add_(dmaps);  // the first layer's maps are the fields
    down[0] = dx.view({B, D, F}).transpose(1, 2);
    down.emplace_back();
    return down;
  }

 private:
  static int64_t pooled_width(at::TensorList parameters, const Shape& shape) {
    int64_t width = 0;
    for (size_t layer = 0; layer < parameters.size() / 2; ++layer)
      width += parameters[2 * layer].size(0) - shape[2 * layer + 1];
    return width;
  }

  // Adds to dx and dmaps; returns the gradient of the weight.
  static torch::Tensor spread(const torch::Tensor& x, const Maps& maps, const torch::Tensor& weight,
                              const torch::Tensor& up, const torch::Tensor& dx,
                              const torch::Tensor& dmaps) {
    const int64_t N = x.size(0), F = x.size(1), block = block_rows();
    torch::Tensor dweight = at::zeros(weight.sizes());
    for (int64_t begin = 0; begin < N; begin += block) {
      const int64_t rows = std::min(block, N - begin);
      const torch::Tensor part = up.narrow(0, begin, rows);
      dweight.addmm_(part.t(), products(x, maps, begin, rows));
      const torch::Tensor dz = at::mm(part, weight);
      kernels::outer_products_backward(
          dz.data_ptr<float>(), x.data_ptr<float>() + begin * F,
          maps.values.data_ptr<float>() + begin * maps.stride(), dx.data_ptr<float>() + begin * F,
          dmaps.data_ptr<float>() + begin * maps.stride(), rows, F, maps.count, maps.stride());
    }
    return dweight;
  }
};

}  // namespace

torch::Tensor compressed_interaction(const torch::Tensor& fields,
                                     const std::vector<CinLayer>& layers) {
  std::vector<torch::Tensor> parameters;
  Shape shape;
  for (const CinLayer& layer : layers) {
    parameters.push_back(layer.weight);
    parameters.push_back(layer.bias);
    shape.push_back(layer.handed_on);
    shape.push_back(layer.pooled_from);
  }
  return CinFunction::apply(fields, at::TensorList(parameters), shape);
}

}  // namespace llmcf::nn
