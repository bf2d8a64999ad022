// Rows and the items of their histories: the pairwise parts of attention over a history, without
// padding. An event is one item of one row's history.
//
//   B rows   N events   U distinct items   A width
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace llmcf::nn {

// Events grouped by row. Both tensors may be views of a batch that outlives the backward pass.
struct Histories {
  torch::Tensor offsets;  // int32 [B + 1]
  torch::Tensor items;    // int32 [N], in [0, U)

  static Histories of(const std::vector<int32_t>& offsets, const std::vector<int32_t>& items);
  int64_t rows() const { return offsets.size(0) - 1; }
  int64_t events() const { return items.size(0); }
};

// row [B, A], item [U, A] -> row * item for each event, [N, A]
torch::Tensor event_products(const Histories& histories, const torch::Tensor& row,
                             const torch::Tensor& item);

// relu(event + row + item): event [N, A], row [B, A], item [U, A] -> [N, A]
torch::Tensor event_relu_sums(const Histories& histories, const torch::Tensor& event,
                              const torch::Tensor& row, const torch::Tensor& item);

// Sum over each row's events of weight * item: weight [N], item [U, A] -> [B, A]; zeros for an
// empty history.
torch::Tensor weighted_items(const Histories& histories, const torch::Tensor& weight,
                             const torch::Tensor& item);

}  // namespace llmcf::nn
