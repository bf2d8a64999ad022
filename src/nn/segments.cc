#include "nn/segments.h"

#include <algorithm>
#include <numeric>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/attention.h"

namespace llmcf::nn {

namespace {

constexpr int64_t kSequences = 16;  // one task

using kernels::AttentionShape;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Segments {
  const int32_t* offsets;
  int64_t count;                    // S
  int64_t longest = 0;              // tokens
  std::vector<int64_t> weights_at;  // [S + 1] where a sequence's attention weights begin

  Segments(const torch::Tensor& offsets_, int64_t heads)
      : offsets(offsets_.data_ptr<int32_t>()), count(offsets_.size(0) - 1) {
    weights_at.assign(1, 0);
    for (int64_t s = 0; s < count; ++s) {
      const int64_t tokens = length(s);
      longest = std::max(longest, tokens);
      weights_at.push_back(weights_at.back() + heads * tokens * tokens);
    }
  }
  int64_t length(int64_t s) const { return offsets[s + 1] - offsets[s]; }
};

AttentionShape shape_of(int64_t tokens, int64_t width, int64_t heads) {
  return {.tokens = tokens, .heads = heads, .head_dim = width / heads, .first = 0, .stride = 1};
}

// body(sequence, shape, scratch of `floats_per_token` * longest * D floats) for all that have
// tokens.
template <typename Body>
void for_each_sequence(const Segments& segments, int64_t width, int64_t heads,
                       int64_t floats_per_token, const Body& body) {
  at::parallel_for(0, segments.count, kSequences, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(floats_per_token * segments.longest * width));
    for (int64_t s = begin; s < end; ++s)
      if (segments.length(s) > 0)
        body(s, shape_of(segments.length(s), width, heads), scratch.data());
  });
}

// value(sequence, place in it) of every token.
template <typename Value>
torch::Tensor by_token(const std::vector<int32_t>& offsets, const Value& value) {
  torch::Tensor result = at::empty({offsets.back()}, at::kInt);
  auto* out = result.data_ptr<int32_t>();
  for (size_t s = 0; s + 1 < offsets.size(); ++s)
    for (int32_t token = offsets[s]; token < offsets[s + 1]; ++token)
      *out++ = value(static_cast<int32_t>(s), token - offsets[s]);
  return result;
}

class SegmentAttentionFunction : public torch::autograd::Function<SegmentAttentionFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& offsets, int64_t heads) {
    const torch::Tensor qkv = input.contiguous();
    const Segments segments(offsets, heads);
    const int64_t d = qkv.size(1) / 3;
    const auto rotary = kernels::RotaryTable::identity(segments.longest, d / heads);
    torch::Tensor output = at::empty({qkv.size(0), d}, qkv.options());
    const torch::Tensor weights = at::empty({segments.weights_at.back()}, qkv.options());
    const auto* from = qkv.data_ptr<float>();
    auto *to = output.data_ptr<float>(), *kept = weights.data_ptr<float>();
    for_each_sequence(
        segments, d, heads, 2, [&](int64_t s, const AttentionShape& shape, float* scratch) {
          const int64_t at = segments.offsets[s];
          kernels::attention(shape, rotary, 0, from + at * 3 * d, to + at * d,
                             kept + segments.weights_at[static_cast<size_t>(s)], scratch);
        });
    context->save_for_backward({qkv, weights, offsets});
    context->saved_data["heads"] = heads;
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &qkv = saved[0], &weights = saved[1], up = gradients[0].contiguous();
    const int64_t heads = context->saved_data["heads"].toInt(), d = qkv.size(1) / 3;
    const Segments segments(saved[2], heads);
    const auto rotary = kernels::RotaryTable::identity(segments.longest, d / heads);
    torch::Tensor down = torch::empty_like(qkv);
    const auto *from = qkv.data_ptr<float>(), *dy = up.data_ptr<float>();
    const auto* kept = weights.data_ptr<float>();
    auto* to = down.data_ptr<float>();
    for_each_sequence(
        segments, d, heads, 5, [&](int64_t s, const AttentionShape& shape, float* scratch) {
          const int64_t at = segments.offsets[s];
          kernels::attention_backward(shape, rotary, 0, dy + at * d, from + at * 3 * d,
                                      kept + segments.weights_at[static_cast<size_t>(s)],
                                      to + at * 3 * d, scratch);
        });
    return {down, {}, {}};
  }
};

}  // namespace

torch::Tensor segment_attention(const torch::Tensor& qkv, const torch::Tensor& offsets,
                                int64_t heads) {
  LLMCF_ASSERT(qkv.size(1) % (6 * heads) == 0 && offsets.is_contiguous());
  return SegmentAttentionFunction::apply(qkv, offsets, heads);
}

torch::Tensor view_of(const std::vector<int32_t>& values) {
  if (values.empty()) return at::empty({0}, at::kInt);
  return at::from_blob(const_cast<int32_t*>(values.data()),  // NOLINT: read only
                       {static_cast<int64_t>(values.size())}, at::kInt);
}

torch::Tensor token_places(const std::vector<int32_t>& offsets) {
  return by_token(offsets, [](int32_t, int32_t place) { return place; });
}

torch::Tensor token_owners(const std::vector<int32_t>& offsets) {
  return by_token(offsets, [](int32_t sequence, int32_t) { return sequence; });
}

TimeMajor TimeMajor::of(const std::vector<int32_t>& offsets) {
  const size_t S = offsets.size() - 1;
  std::vector<size_t> sequences(S);
  std::iota(sequences.begin(), sequences.end(), size_t{0});
  const auto length = [&](size_t s) { return offsets[s + 1] - offsets[s]; };
  std::stable_sort(sequences.begin(), sequences.end(),
                   [&](size_t a, size_t b) { return length(a) > length(b); });
  const int64_t N = offsets.back(), longest = S == 0 ? 0 : length(sequences.front());
  TimeMajor result{.order = at::empty({N}, at::kLong),
                   .place = at::empty({N}, at::kLong),
                   .batch_sizes = at::empty({longest}, at::kLong)};
  auto* order = result.order.data_ptr<int64_t>();
  auto* place = result.place.data_ptr<int64_t>();
  int64_t next = 0;
  for (int64_t t = 0; t < longest; ++t) {
    const int64_t begin = next;
    for (size_t i = 0; i < S && length(sequences[i]) > t; ++i) {
      const int64_t token = offsets[sequences[i]] + t;
      order[next] = token;
      place[token] = next++;
    }
    result.batch_sizes.data_ptr<int64_t>()[t] = next - begin;
  }
  return result;
}

}  // namespace llmcf::nn
