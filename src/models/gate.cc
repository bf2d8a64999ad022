#include "models/gate.h"

#include <algorithm>

#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

namespace llmcf::models {

namespace {

constexpr double kOpen = 2.0;

}  // namespace

torch::Tensor gate_statistics(const Batch& batch) {
  torch::Tensor statistics = at::zeros({batch.queries, kGateStatistics});
  auto* out = statistics.data_ptr<float>();
  for (int64_t b = 0; b < batch.queries; ++b, out += kGateStatistics) {
    float best[2] = {-1.0F, -1.0F}, sum[2] = {0.0F, 0.0F};
    int64_t count[2] = {0, 0};
    for (int64_t k = 0; k < batch.slots; ++k) {
      const auto at = static_cast<size_t>(b * batch.slots + k);
      const int32_t example = batch.slot[at];
      if (example < 0) continue;
      const int label = batch.example_label[static_cast<size_t>(example)];
      best[label] = std::max(best[label], batch.slot_similarity[at]);
      sum[label] += batch.slot_similarity[at];
      ++count[label];
    }
    for (int label = 0; label < 2; ++label) {
      const auto column = 2 * (1 - label);  // positive ones first
      if (count[label] == 0) continue;
      out[column] = best[label];
      out[column + 1] = sum[label] / static_cast<float>(count[label]);
    }
    const int64_t masked = batch.slots - count[0] - count[1];
    out[4] = batch.slots == 0 ? 1.0F : static_cast<float>(masked) / static_cast<float>(batch.slots);
  }
  return statistics;
}

SimilarityGateImpl::SimilarityGateImpl()
    : weight(register_parameter("weight", at::zeros({1, kGateStatistics}))),
      bias(register_parameter("bias", at::zeros({1}))) {}

torch::Tensor SimilarityGateImpl::forward(const Batch& batch) {
  return at::linear(gate_statistics(batch), weight, bias).sigmoid().squeeze(1);
}

void SimilarityGateImpl::initialise(nn::InitKind, Random&) {
  weight.zero_();
  bias.fill_(kOpen);
}

}  // namespace llmcf::models
