// Every kernel against the same arithmetic written down plainly, at widths that fill no vector.
#include "serve/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "serve/scan_kernels.h"

namespace llmcf::serve::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint64_t seed) {
  Random random(seed, "tests.kernels");
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values)
    value = static_cast<float>(random.normal());
  return values;
}

TEST(ServeKernels, DenseIsBiasPlusAddendPlusProduct) {
  for (const int64_t out : {1, 5, 16, 31, 32, 33, 80, 200})
    for (const int64_t in : {0, 1, 7, 32, 45})
      for (const int64_t rows : {1, 2, 3, 7, 8, 9, 23}) {
        const auto w = random_floats(out * in, 1), x = random_floats(rows * in, 2);
        auto bias = random_floats(padded(out), 3), addend = random_floats(rows * padded(out), 4);
        std::vector<const float*> addends;
        for (int64_t r = 0; r < rows; ++r)
          addends.push_back(addend.data() + r * padded(out));
        std::vector<float> y(static_cast<size_t>(rows * padded(out)));
        dense(PackedWeights(w.data(), out, in), {.count = rows,
                                                 .x = x.data(),
                                                 .x_stride = in,
                                                 .bias = bias.data(),
                                                 .addend = addends.data(),
                                                 .relu = true,
                                                 .y = y.data(),
                                                 .y_stride = padded(out)});
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t o = 0; o < out; ++o) {
            double sum = bias[static_cast<size_t>(o)] + addends[static_cast<size_t>(r)][o];
            for (int64_t k = 0; k < in; ++k)
              sum += static_cast<double>(w[static_cast<size_t>(o * in + k)]) *
                     x[static_cast<size_t>(r * in + k)];
            ASSERT_NEAR(y[static_cast<size_t>(r * padded(out) + o)], std::max(sum, 0.0), 1e-4)
                << out << " " << in << " " << rows;
          }
      }
}

TEST(ServeKernels, ColumnsOfPackedWeightsMayBeChosen) {
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};  // [2, 3]
  const std::vector<int64_t> columns = {2, 0};
  const std::vector<float> x = {10, 100};
  std::vector<float> y(static_cast<size_t>(padded(2)));
  dense(PackedWeights(w.data(), 2, 3, columns),
        {.count = 1, .x = x.data(), .x_stride = 2, .y = y.data(), .y_stride = padded(2)});
  EXPECT_EQ(y[0], 3 * 10 + 1 * 100);
  EXPECT_EQ(y[1], 6 * 10 + 4 * 100);
}

TEST(ServeKernels, NormAndActivationsFollowTheirFormulas) {
  for (const int64_t width : {3, 16, 33}) {
    auto x = random_floats(width, 5);
    const auto weight = random_floats(width, 6);
    std::vector<float> y(static_cast<size_t>(width));
    rms_norm(x.data(), weight.data(), y.data(), 1, width, width);
    double square = 0;
    for (const float value : x)
      square += static_cast<double>(value) * value;
    const double inverse = 1 / std::sqrt(square / static_cast<double>(width) + 1e-5);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(y[i], x[i] * inverse * weight[i], 1e-5);
    const auto bias = random_floats(width, 8);
    double mean = 0, variance = 0;
    for (const float value : x)
      mean += value / static_cast<double>(width);
    for (const float value : x)
      variance += std::pow(value - mean, 2) / static_cast<double>(width);
    layer_norm(x.data(), weight.data(), bias.data(), 1e-3F, y.data(), 1, width, width);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(y[i], (x[i] - mean) / std::sqrt(variance + 1e-3) * weight[i] + bias[i], 1e-5);
    const auto gates = random_floats(2 * width, 7);
    swiglu(gates.data(), 2 * width, y.data(), width, 1, width);
    for (size_t i = 0; i < y.size(); ++i)
      EXPECT_NEAR(y[i],
                  gates[i] / (1 + std::exp(-static_cast<double>(gates[i]))) *
                      gates[i + static_cast<size_t>(width)],
                  1e-5);
    auto t = x, g = x, s = x, l = x;
    tanh_of(t.data(), width);
    sigmoid_of(l.data(), width);
    gelu(g.data(), width);
    softmax(s.data(), width);
    double total = 0;
    for (const float value : x)
      total += std::exp(static_cast<double>(value));
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(t[i], std::tanh(x[i]), 1e-6);
      EXPECT_NEAR(l[i], 1 / (1 + std::exp(-static_cast<double>(x[i]))), 1e-6);
      EXPECT_NEAR(g[i], 0.5 * x[i] * (1 + std::erf(x[i] / std::sqrt(2.0))), 1e-6);
      EXPECT_NEAR(s[i], std::exp(static_cast<double>(x[i])) / total, 1e-6);
    }
  }
}

TEST(ServeKernels, AttentionAddsTheQuerysOwnPositionLast) {
  constexpr int64_t kHeads = 2, kDim = 5, kCount = 3, kStride = 24;
  const auto rows = random_floats(kCount * kStride, 8), own = random_floats(3 * kHeads * kDim, 9);
  for (const bool with_own : {false, true}) {
    const int64_t all = kCount + (with_own ? 1 : 0), d = kHeads * kDim;
    std::vector<float> weights(static_cast<size_t>(kHeads * all)), out(static_cast<size_t>(d));
    attend({.heads = kHeads,
            .head_dim = kDim,
            .query = own.data(),
            .keys = rows.data(),
            .values = rows.data() + d,
            .stride = kStride,
            .count = kCount,
            .own_key = with_own ? own.data() + d : nullptr,
            .own_value = with_own ? own.data() + 2 * d : nullptr,
            .weights = weights.data(),
            .out = out.data()});
    for (int64_t h = 0; h < kHeads; ++h) {
      std::vector<double> score;
      for (int64_t t = 0; t < all; ++t) {
        const float* key = t < kCount ? rows.data() + t * kStride : own.data() + d;
        double sum = 0;
        for (int64_t i = 0; i < kDim; ++i)
          sum += static_cast<double>(own[static_cast<size_t>(h * kDim + i)]) * key[h * kDim + i];
        score.push_back(std::exp(sum / std::sqrt(static_cast<double>(kDim))));
      }
      double total = 0;
      for (const double value : score)
        total += value;
      for (int64_t i = 0; i < kDim; ++i) {
        double expected = 0;
        for (int64_t t = 0; t < all; ++t) {
          const float* value = t < kCount ? rows.data() + t * kStride + d : own.data() + 2 * d;
          expected += score[static_cast<size_t>(t)] / total * value[h * kDim + i];
        }
        EXPECT_NEAR(out[static_cast<size_t>(h * kDim + i)], expected, 1e-5);
      }
      for (int64_t t = 0; t < all; ++t)
        EXPECT_NEAR(weights[static_cast<size_t>(h * all + t)],
                    score[static_cast<size_t>(t)] / total, 1e-6);
    }
  }
}

TEST(ServeKernels, MergingKeepsTheLargest) {
  for (const int64_t count : {0, 1, 5, 16, 31, 64, 200})
    for (const int64_t k : {1, 3, 4, 40}) {
      auto values = random_floats(count, 12), all = random_floats(k, 13);
      for (float& value : values)
        value = std::round(4 * value) / 4;  // with ties
      std::sort(all.rbegin(), all.rend());
      auto best = all;
      merge_largest(values.data(), count, best.data(), k);
      all.insert(all.end(), values.begin(), values.end());
      std::sort(all.rbegin(), all.rend());
      all.resize(static_cast<size_t>(k));
      EXPECT_EQ(best, all) << count << " " << k;
      const auto b = random_floats(count, 14);
      std::vector<int32_t> found(static_cast<size_t>(count) + 1), expected;
      const int64_t above = indices_above(values.data(), b.data(), 0.5F, count, 0.3F, found.data());
      found.resize(static_cast<size_t>(above));
      for (int64_t i = 0; i < count; ++i)
        if (values[static_cast<size_t>(i)] + 0.5F * b[static_cast<size_t>(i)] >= 0.3F)
          expected.push_back(static_cast<int32_t>(i));
      EXPECT_EQ(found, expected);
    }
}

TEST(ServeKernels, HalfPrecisionScanIsCloseToTheExactProducts) {
  constexpr int64_t kWidth = 37, kColumns = 64;
  const auto rows = random_floats(kColumns * kWidth, 10), query = random_floats(kWidth, 11);
  std::vector<uint16_t> panels(static_cast<size_t>(kColumns * kWidth)), half(kWidth);
  std::vector<float> back(kWidth), found(kColumns), exact(kColumns);
  std::vector<int32_t> ids;
  for (int64_t c = 0; c < kColumns; ++c) {
    ids.push_back(static_cast<int32_t>(c));
    to_half(rows.data() + c * kWidth, half.data(), kWidth);
    from_half(half.data(), back.data(), kWidth);
    for (int64_t k = 0; k < kWidth; ++k) {
      ASSERT_NEAR(back[static_cast<size_t>(k)], rows[static_cast<size_t>(c * kWidth + k)], 2e-3);
      panels[static_cast<size_t>((c / kPanel * kWidth + k) * kPanel + c % kPanel)] =
          half[static_cast<size_t>(k)];
    }
  }
  scan_half(query.data(), panels.data(), kColumns, kWidth, found.data());
  chained_dots(query.data(), rows.data(), ids.data(), kColumns, kWidth, 1, exact.data());
  for (int64_t c = 0; c < kColumns; ++c) {
    double sum = 0;
    for (int64_t k = 0; k < kWidth; ++k)
      sum += static_cast<double>(query[static_cast<size_t>(k)]) *
             rows[static_cast<size_t>(c * kWidth + k)];
    EXPECT_NEAR(exact[static_cast<size_t>(c)], sum, 1e-5);
    EXPECT_NEAR(found[static_cast<size_t>(c)], sum, 2e-2);
  }
}

}  // namespace
}  // namespace llmcf::serve::kernels
