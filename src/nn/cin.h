// Compressed interaction network: layer i multiplies every map of layer i - 1 with every field,
// dimension by dimension, and mixes the products. Lian et al., "xDeepFM: Combining Explicit and
// Implicit Feature Interactions for Recommender Systems", KDD 2018, section 3.1.
//
//   B rows   F fields   D embedding width   O_i maps of layer i   H_i maps handed on (H_0 = F)
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace llmcf::nn {

struct CinLayer {
  torch::Tensor weight;     // [O_i, F * H_{i-1}], products of field 0 first
  torch::Tensor bias;       // [O_i]
  int64_t handed_on = 0;    // H_i: the first maps that the next layer reads
  int64_t pooled_from = 0;  // maps [pooled_from, O_i) go into the result
};

// fields [B, F, D] -> sums over d of the layers' pooled maps after ReLU, [B, sum of O_i -
// pooled_from_i]. One node of the graph: products are made block by block and never kept.
torch::Tensor compressed_interaction(const torch::Tensor& fields,
                                     const std::vector<CinLayer>& layers);

}  // namespace llmcf::nn
