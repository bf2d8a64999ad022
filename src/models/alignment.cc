#include "models/alignment.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::models {

AlignmentImpl::AlignmentImpl(int64_t width)
    : weight(register_parameter("weight", at::empty({width, 2}))) {}

torch::Tensor AlignmentImpl::forward(const Batch& batch) {
  if (static_cast<int64_t>(batch.alignment.size()) != batch.queries)
    throw Error(fmt::format("the batch carries {} alignments for {} rows", batch.alignment.size(),
                            batch.queries));
  const torch::Tensor features = at::empty({batch.queries, 2});
  auto* out = features.data_ptr<float>();
  for (const float alignment : batch.alignment) {
    const float s = 4 * alignment - 2;
    *out++ = s;
    *out++ = s * s;
  }
  return at::linear(features, weight);
}

void AlignmentImpl::initialise(nn::InitKind, Random& random) {
  nn::fill_normal(weight, std::sqrt(0.5), random);
}

}  // namespace llmcf::models
