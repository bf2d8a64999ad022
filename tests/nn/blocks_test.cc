// The fused blocks against the same mathematics in libtorch's own operations, gradients included.
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/attention.h"
#include "nn/cin.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/field_attention.h"
#include "nn/fm.h"
#include "nn/history.h"
#include "nn/init.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace llmcf::nn {
namespace {

torch::Tensor normal(at::IntArrayRef shape, const char* stream) {
  torch::Tensor values = at::zeros(shape);
  Random random(1, stream);
  fill_normal(values, 1.0, random);
  return values;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

// Both functions of the same leaf agree in value and gradient.
template <typename F, typename G>
void expect_same(const F& fused, const G& plain, const torch::Tensor& input, double tolerance) {
  torch::Tensor x = input.clone().set_requires_grad(true),
                z = input.clone().set_requires_grad(true);
  const torch::Tensor a = fused(x), b = plain(z);
  EXPECT_LE(distance(a, b), tolerance);
  const torch::Tensor up = normal(a.sizes(), "upstream");
  (a * up).sum().backward();
  (b * up).sum().backward();
  EXPECT_LE(distance(x.grad(), z.grad()), tolerance);
}

TEST(RmsNorm, IsTheFormula) {
  RmsNorm norm(12);
  norm->weight.data().copy_(normal({12}, "weight"));
  const auto plain = [&](const torch::Tensor& x) {
    return x * at::rsqrt(at::pow(x, 2).mean(-1, true) + 1e-5) * norm->weight.detach();
  };
  expect_same([&](const torch::Tensor& x) { return norm->forward(x); }, plain,
              normal({300, 2, 12}, "x"), 1e-4);
}

TEST(RmsNorm, WeightGetsItsGradient) {
  RmsNorm norm(12);
  const torch::Tensor x = normal({300, 12}, "x");
  norm->forward(x).sum().backward();
  const torch::Tensor expected = (x * at::rsqrt(at::pow(x, 2).mean(-1, true) + 1e-5)).sum(0);
  EXPECT_LE(distance(norm->weight.grad(), expected), 1e-4);
}

TEST(Swiglu, IsTheFormula) {
  const auto plain = [](const torch::Tensor& ab) {
    return at::silu(ab.narrow(1, 0, 21)) * ab.narrow(1, 21, 21);
  };
  expect_same([](const torch::Tensor& ab) { return swiglu(ab); }, plain, 4 * normal({37, 42}, "ab"),
              1e-5);
}

TEST(FactorisationMachine, IsTheSumOverPairs) {
  const auto plain = [](const torch::Tensor& v) {
    torch::Tensor sum = at::zeros({v.size(0)});
    for (int64_t i = 0; i < v.size(1); ++i)
      for (int64_t j = i + 1; j < v.size(1); ++j)
        sum = sum + (v.select(1, i) * v.select(1, j)).sum(1);
    return sum;
  };
  expect_same([](const torch::Tensor& v) { return factorisation_machine(v); }, plain,
              normal({9, 5, 6}, "v"), 1e-4);
}

// Rotates pairs (x_2i, x_2i+1) of [B, T, H, n] by position * 10000^(-2i / n).
torch::Tensor rotated(const torch::Tensor& x) {
  const int64_t T = x.size(1), n = x.size(3);
  const torch::Tensor rate = at::pow(10000.0, -at::arange(0, n, 2, at::kDouble) / double(n));
  const torch::Tensor angle =
      at::outer(at::arange(T, at::kDouble), rate).to(at::kFloat).view({1, T, 1, n / 2});
  const torch::Tensor pairs = x.reshape({x.size(0), T, x.size(2), n / 2, 2});
  const torch::Tensor re = pairs.select(4, 0), im = pairs.select(4, 1);
  return at::stack({re * angle.cos() - im * angle.sin(), re * angle.sin() + im * angle.cos()}, 4)
      .view(x.sizes());
}

// The textbook form; `masked` leading tokens are hidden from everybody.
torch::Tensor plain_attention(const torch::Tensor& qkv, const torch::Tensor& masked, int64_t heads,
                              Positions positions) {
  const int64_t B = qkv.size(0), T = qkv.size(1), d = qkv.size(2) / 3, n = d / heads;
  const auto part = [&](int64_t i) { return qkv.narrow(2, i * d, d).view({B, T, heads, n}); };
  const torch::Tensor q = rotated(part(0)).transpose(1, 2), k = rotated(part(1)).transpose(1, 2);
  torch::Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(double(n));
  scores = scores + at::triu(at::full({T, T}, -1e30), 1);
  const torch::Tensor hidden =
      at::arange(T).view({1, 1, 1, T}) < masked.to(at::kLong).view({B, 1, 1, 1});
  scores = scores.masked_fill(hidden, -1e20);
  const torch::Tensor out =
      at::matmul(scores.softmax(3), part(2).transpose(1, 2)).transpose(1, 2).reshape({B, T, d});
  const torch::Tensor seen =
      (at::arange(T).view({1, T, 1}) >= masked.to(at::kLong).view({B, 1, 1})).to(at::kFloat);
  return (out * seen).slice(1, positions.first, T, positions.stride);
}

TEST(CausalAttention, IsTheTextbookForm) {
  const torch::Tensor masked = at::tensor({0, 3, 6, 9, 1}, at::kInt);
  for (const Positions positions : {Positions{}, Positions{9, 1}, Positions{0, 3}, Positions{1, 4}})
    expect_same([&](const torch::Tensor& x) { return causal_attention(x, masked, 2, positions); },
                [&](const torch::Tensor& x) { return plain_attention(x, masked, 2, positions); },
                normal({5, 10, 24}, "qkv"), 1e-5);
}

TEST(CausalBlock, ComputesTheSameForFewerPositions) {
  CausalBlock block(BlockOptions{.width = 16, .heads = 2});
  const torch::Tensor h = normal({4, 7, 16}, "h"), masked = at::tensor({0, 2, 4, 6}, at::kInt);
  const torch::Tensor all = block->forward(h, masked);
  EXPECT_LE(distance(all.slice(1, 0, 7, 2), block->forward(h, masked, {0, 2})), 1e-5);
  EXPECT_LE(distance(all.slice(1, 6, 7), block->forward(h, masked, {6, 1})), 1e-5);
}

TEST(CausalBlock, HiddenWidthIsThePapers) {
  EXPECT_EQ(CausalBlock(BlockOptions{.width = 32})->options.hidden, 64);
  EXPECT_EQ(CausalBlock(BlockOptions{.width = 64})->options.hidden, 96);
  EXPECT_THROW(CausalBlock(BlockOptions{.width = 30, .heads = 4}), Error);
}

TEST(Dropout, DependsOnSeedStepAndOrderOnly) {
  const torch::Tensor x = at::ones({1000, 50});
  const auto draw = [&](uint64_t seed, int64_t step) {
    const DropoutScope scope(seed, step);
    const torch::Tensor first = nn::dropout(x, 0.3, true);
    return at::stack({first, nn::dropout(x, 0.3, true)});
  };
  EXPECT_TRUE(draw(1, 2).equal(draw(1, 2)));
  EXPECT_FALSE(draw(1, 2).equal(draw(1, 3)));
  EXPECT_FALSE(draw(1, 2).equal(draw(2, 2)));
  EXPECT_FALSE(draw(1, 2)[0].equal(draw(1, 2)[1]));
}

TEST(Dropout, KeepsTheMeanAndItsShare) {
  const DropoutScope scope(4, 0);
  const torch::Tensor y = nn::dropout(at::ones({1000, 100}), 0.1, true);
  EXPECT_NEAR(y.mean().item<double>(), 1.0, 0.01);
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<double>(), 0.1, 0.005);
}

TEST(Dropout, PassesTheGradientOfWhatItKept) {
  const DropoutScope scope(4, 0);
  torch::Tensor x = at::full({100, 10}, 2.0).set_requires_grad(true);
  const torch::Tensor y = nn::dropout(x, 0.5, true);
  y.sum().backward();
  EXPECT_TRUE((x.grad() * 2).equal(y.detach()));
  EXPECT_TRUE(nn::dropout(x, 0.5, false).is_same(x));
}

// Bags over a slab of 4 rows for 3 samples; the second table's row 0 is padding.
struct Bags {
  std::vector<int32_t> single_offsets = {0, 1, 2, 3}, single_ids = {2, 0, 2};
  std::vector<int32_t> many_offsets = {0, 3, 3, 4}, many_ids = {0, 1, 3, 1};
  std::vector<float> none, weights = {1.0F, 2.0F, 0.5F, 3.0F};
  PooledBatch batch{.queries = 2,
                    .samples = 3,
                    .dim = 2,
                    .fields = {{&single_offsets, &single_ids, &none, 0, true},
                               {&many_offsets, &many_ids, &weights, 1, false}},
                    .frozen_rows = {-1, 0}};
};

TEST(Pool, IsTheWeightedMeanAndZerosForAnEmptyBag) {
  const Bags bags;
  const torch::Tensor first = normal({4, 3}, "first"), second = normal({4, 3}, "second");
  const Pooled pooled = pool({first, second}, bags.batch, true);
  const auto row = [](const torch::Tensor& slab, int64_t r) { return slab[r].narrow(0, 0, 2); };
  EXPECT_LE(distance(pooled.samples[0][0], row(first, 2)), 0.0);
  EXPECT_LE(distance(pooled.samples[0][1],
                     (row(second, 0) + 2 * row(second, 1) + 0.5 * row(second, 3)) / 3),
            1e-6);
  EXPECT_EQ(pooled.samples[1][1].abs().sum().item<float>(), 0.0F);
  EXPECT_LE(distance(pooled.samples[2][1], 3 * row(second, 1)), 1e-6);
  EXPECT_TRUE(pooled.queries.equal(pooled.samples.narrow(0, 0, 2)));
  EXPECT_LE(distance(pooled.first_order, at::stack({first[2][2], first[0][2]})), 0.0);
}

TEST(Pool, SpreadsGradientsAndFreezesPadding) {
  const Bags bags;
  torch::Tensor first = normal({4, 3}, "first").set_requires_grad(true);
  torch::Tensor second = normal({4, 3}, "second").set_requires_grad(true);
  const Pooled pooled = pool({first, second}, bags.batch, true);
  (pooled.samples.sum() + 10 * pooled.queries.sum() + 100 * pooled.first_order.sum()).backward();
  const auto expect_row = [](const torch::Tensor& row, std::vector<double> values) {
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(row[static_cast<int64_t>(i)].item<double>(), values[i], 1e-4);
  };
  expect_row(first.grad()[2], {12, 12, 100});  // samples 0 and 2, query 0
  expect_row(first.grad()[0], {11, 11, 100});
  expect_row(first.grad()[1], {0, 0, 0});
  expect_row(second.grad()[0], {0, 0, 0});  // padding
  expect_row(second.grad()[1], {11.0 * 2 / 3 + 3, 11.0 * 2 / 3 + 3, 0});
  expect_row(second.grad()[3], {11.0 * 0.5 / 3, 11.0 * 0.5 / 3, 0});
}

// Four rows: no history, one item, an item twenty times, three items.
struct Seen {
  Seen() {
    items.assign(21, 2);
    items.insert(items.end(), {0, 3, 1});
  }
  Histories histories() const { return Histories::of(offsets, items); }
  std::vector<int32_t> offsets = {0, 0, 1, 21, 24}, items;
};

// The same with plain operations.
torch::Tensor rows_of_events(const Seen& seen) {
  torch::Tensor rows = at::zeros({24}, at::kLong);
  for (int64_t b = 0; b < 4; ++b)
    rows.slice(0, seen.offsets[static_cast<size_t>(b)], seen.offsets[static_cast<size_t>(b) + 1])
        .fill_(b);
  return rows;
}

TEST(Histories, MultiplyRowsWithItems) {
  const Seen seen;
  const torch::Tensor rows = rows_of_events(seen), items = seen.histories().items.to(at::kLong);
  const torch::Tensor item = normal({5, 6}, "item");
  expect_same(
      [&](const torch::Tensor& q) { return event_products(seen.histories(), q, item); },
      [&](const torch::Tensor& q) { return q.index_select(0, rows) * item.index_select(0, items); },
      normal({4, 6}, "row"), 1e-5);
  const torch::Tensor row = normal({4, 6}, "row");
  expect_same(
      [&](const torch::Tensor& k) { return event_products(seen.histories(), row, k); },
      [&](const torch::Tensor& k) { return row.index_select(0, rows) * k.index_select(0, items); },
      item, 1e-5);
}

TEST(Histories, AddRowsAndItemsToEvents) {
  const Seen seen;
  const torch::Tensor rows = rows_of_events(seen), items = seen.histories().items.to(at::kLong);
  // Events, rows and items as parts of one tensor.
  const auto parts = [](const torch::Tensor& x) { return x.split_with_sizes({24, 4, 5}); };
  expect_same(
      [&](const torch::Tensor& x) {
        return event_relu_sums(seen.histories(), parts(x)[0], parts(x)[1], parts(x)[2]);
      },
      [&](const torch::Tensor& x) {
        return (parts(x)[0] + parts(x)[1].index_select(0, rows) +
                parts(x)[2].index_select(0, items))
            .relu();
      },
      normal({33, 6}, "all"), 1e-5);
}

TEST(Histories, SumWeightedItemsAndGiveZerosForNone) {
  const Seen seen;
  const torch::Tensor rows = rows_of_events(seen), items = seen.histories().items.to(at::kLong);
  const torch::Tensor item = normal({5, 6}, "item"), weight = normal({24}, "weight");
  const auto plain = [&](const torch::Tensor& w, const torch::Tensor& k) {
    return at::zeros({4, 6}).index_add(0, rows, w.unsqueeze(1) * k.index_select(0, items));
  };
  expect_same([&](const torch::Tensor& w) { return weighted_items(seen.histories(), w, item); },
              [&](const torch::Tensor& w) { return plain(w, item); }, weight, 1e-4);
  expect_same([&](const torch::Tensor& k) { return weighted_items(seen.histories(), weight, k); },
              [&](const torch::Tensor& k) { return plain(weight, k); }, item, 1e-4);
  EXPECT_EQ(weighted_items(seen.histories(), weight, item)[0].abs().sum().item<float>(), 0.0F);
}

TEST(Histories, MayAllBeEmpty) {
  const std::vector<int32_t> offsets = {0, 0, 0}, items;
  const Histories none = Histories::of(offsets, items);
  const torch::Tensor nothing = at::zeros({0, 6});
  EXPECT_EQ(event_products(none, normal({2, 6}, "row"), nothing).size(0), 0);
  EXPECT_EQ(weighted_items(none, at::zeros({0}), nothing).sizes(), at::IntArrayRef({2, 6}));
}

TEST(CompressedInteraction, IsTheConvolutionOfOuterProducts) {
  const torch::Tensor w0 = normal({6, 9}, "w0"), b0 = normal({6}, "b0"), w1 = normal({5, 9}, "w1"),
                      b1 = normal({5}, "b1");
  const auto layer = [](const torch::Tensor& x, const torch::Tensor& h, const torch::Tensor& w,
                        const torch::Tensor& b) {
    const torch::Tensor outer = (x.unsqueeze(2) * h.unsqueeze(1)).flatten(1, 2);  // [B, FH, D]
    return (at::matmul(w, outer) + b.unsqueeze(1)).relu();                        // [B, O, D]
  };
  const auto ours = [&](const torch::Tensor& x, const torch::Tensor& w) {
    return compressed_interaction(x, {{w, b0, 3, 3}, {w1, b1, 0, 0}});
  };
  const auto plain = [&](const torch::Tensor& x, const torch::Tensor& w) {
    const torch::Tensor first = layer(x, x, w, b0);
    const torch::Tensor second = layer(x, first.narrow(1, 0, 3), w1, b1);
    return at::cat({first.narrow(1, 3, 3).sum(2), second.sum(2)}, 1);
  };
  const torch::Tensor x = normal({70, 3, 4}, "x");  // more than one block
  expect_same([&](const torch::Tensor& in) { return ours(in, w0); },
              [&](const torch::Tensor& in) { return plain(in, w0); }, x, 1e-3);
  expect_same([&](const torch::Tensor& w) { return ours(x, w); },
              [&](const torch::Tensor& w) { return plain(x, w); }, w0, 1e-2);
}

TEST(FieldAttention, IsMultiHeadAttentionWithoutAMask) {
  const auto ours = [](const torch::Tensor& qkv) {
    return field_attention_mix(field_attention_weights(qkv, 2), qkv);
  };
  const auto plain = [](const torch::Tensor& qkv) {
    const auto parts = qkv.view({5, 3, 3, 2, 4}).permute({2, 0, 3, 1, 4});  // [3, B, H, F, w]
    const torch::Tensor scores = at::matmul(parts[0], parts[1].transpose(2, 3)) / 2;
    return at::matmul(at::softmax(scores, 3), parts[2]).transpose(1, 2).reshape({5, 3, 8});
  };
  expect_same(ours, plain, normal({5, 3, 24}, "qkv"), 1e-5);
}

TEST(FieldAttention, MergesTheProjectionInFrontOfIt) {
  FieldAttention attention(8, 2, 0.0);
  torch::nn::Linear before(6, 8);
  const torch::Tensor x = normal({5, 3, 6}, "x");
  Random random(1, "init");
  {
    const at::NoGradGuard no_gradients;
    attention->initialise(InitKind::kDefault, random);
  }
  EXPECT_LE(distance(attention->forward(x, before), attention->forward(before->forward(x))), 1e-5);
  EXPECT_THROW(FieldAttention(9, 2, 0.0), Error);
}

TEST(Mlp, DropsInputsAndKeepsTheLastLayerLinear) {
  Mlp mlp(MlpOptions{.sizes = {3, 4, 2}, .last_activation = false});
  const torch::Tensor x = normal({50, 3}, "x");
  EXPECT_LT(mlp->forward(x).min().item<float>(), 0.0F);
  EXPECT_GE(Mlp(MlpOptions{.sizes = {3, 2}})->forward(x).min().item<float>(), 0.0F);
  EXPECT_THROW(Mlp(MlpOptions{.sizes = {3}}), Error);
}

TEST(Initialise, DrawsFromNamedStreams) {
  torch::nn::ModuleList one(Mlp(MlpOptions{.sizes = {40, 30}})),
      two(Mlp(MlpOptions{.sizes = {40, 30}}));
  two->push_back(Mlp(MlpOptions{.sizes = {5, 5}}));
  initialise(*one, InitKind::kDefault, 1, "");
  initialise(*two, InitKind::kDefault, 1, "");
  const torch::Tensor weight = one->parameters()[0];
  EXPECT_TRUE(weight.equal(two->parameters()[0]));
  EXPECT_LE(weight.abs().max().item<double>(), 1 / std::sqrt(40.0));
  initialise(*one, InitKind::kXavier, 1, "");
  EXPECT_NEAR(one->parameters()[0].std().item<double>(), std::sqrt(2.0 / 70), 0.02);
  EXPECT_EQ(one->parameters()[1].abs().sum().item<float>(), 0.0F);
}

}  // namespace
}  // namespace llmcf::nn
