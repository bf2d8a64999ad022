// Next-item losses against the same written with libtorch's own operations: values and gradients.
#include "models/sequence_objective.h"

#include <cmath>

#include <ATen/ops/arange.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/toy_sequences.h"

namespace llmcf::models {
namespace {

using testing::ToySequences;

constexpr int64_t kQueries = 40, kRows = ToySequences::kItems + 2, kDim = 8;

struct Case {
  const char* name;
  NextItemLoss loss;
};

class Losses : public ::testing::TestWithParam<Case> {
 protected:
  Losses() {
    at::manual_seed(3);
    states_ = at::randn({kQueries, kDim}).set_requires_grad(true);
    items_ = at::randn({kRows, kDim}).set_requires_grad(true);
    Random random(1, "targets");
    for (int64_t q = 0; q < kQueries; ++q) {
      batch_.target.push_back(static_cast<int32_t>(random.below(ToySequences::kItems)) + 1);
      batch_.log_share.push_back(-1.0F - 0.05F * static_cast<float>(batch_.target.back()));
    }
    batch_.negative = {4, 8, 15, 16, 23};  // some are targets
    options_.loss = GetParam().loss;
    options_.catalogue = ToySequences::kItems;
  }

  static torch::Tensor rows_of(const std::vector<int32_t>& rows) {
    std::vector<int64_t> wide(rows.begin(), rows.end());
    return torch::tensor(wide);
  }

  // The same by the book.
  torch::Tensor expected(const torch::Tensor& states, const torch::Tensor& items) const {
    const torch::Tensor targets = rows_of(batch_.target);
    const torch::Tensor own = (states * at::index_select(items, 0, targets)).sum(1);
    if (GetParam().loss == NextItemLoss::kSoftmax)
      return (at::logsumexp(at::mm(states, items.narrow(0, 1, ToySequences::kItems).t()), {1}) -
              own)
          .mean();
    const bool in_batch = GetParam().loss == NextItemLoss::kInBatch;
    const torch::Tensor others = in_batch ? targets : rows_of(batch_.negative);
    const torch::Tensor scores = at::mm(states, at::index_select(items, 0, others).t());
    const torch::Tensor same = targets.unsqueeze(1) == others.unsqueeze(0);
    const auto n = static_cast<double>(others.size(0));
    switch (GetParam().loss) {
      case NextItemLoss::kSampled: {
        const torch::Tensor all =
            at::cat({own.unsqueeze(1), scores.masked_fill(same, -INFINITY)}, 1);
        return (at::logsumexp(all, {1}) - own).mean();
      }
      case NextItemLoss::kInBatch: {
        const torch::Tensor share = torch::tensor(batch_.log_share);
        const torch::Tensor corrected = (scores - share.unsqueeze(0)).masked_fill(same, -INFINITY);
        const torch::Tensor positive = own - share;
        return (at::logsumexp(at::cat({positive.unsqueeze(1), corrected}, 1), {1}) - positive)
            .mean();
      }
      case NextItemLoss::kBpr: {
        const torch::Tensor counts = same.logical_not().to(at::kFloat);
        return (at::softplus(scores - own.unsqueeze(1)) * counts / counts.sum(1, true))
            .sum(1)
            .mean();
      }
      case NextItemLoss::kGbce: {
        const double a = n / (ToySequences::kItems - 1);
        const double beta = a * (options_.calibration * (1 - 1 / a) + 1 / a);
        const torch::Tensor negative = at::softplus(scores).masked_fill(same, 0).sum(1);
        return (beta * at::softplus(-own) + negative).mean();
      }
      default:
        throw Error("not a loss");
    }
  }

  torch::Tensor states_, items_;
  SequenceBatch batch_;
  SequenceOptions options_;
};

TEST_P(Losses, AreWhatTheySay) {
  const torch::Tensor loss = next_item_loss(options_, states_, items_, batch_);
  (3 * loss).backward();
  const torch::Tensor states = states_.detach().clone().set_requires_grad(true);
  const torch::Tensor items = items_.detach().clone().set_requires_grad(true);
  const torch::Tensor by_the_book = expected(states, items);
  (3 * by_the_book).backward();
  EXPECT_NEAR(loss.item<double>(), by_the_book.item<double>(), 1e-5);
  EXPECT_LT((states_.grad() - states.grad()).abs().max().item<float>(), 1e-5F);
  EXPECT_LT((items_.grad() - items.grad()).abs().max().item<float>(), 1e-5F);
}

// Scores of a thousand overflow the exponentials of a naive loss.
TEST_P(Losses, StayFiniteWhereExponentialsOverflow) {
  const torch::Tensor states = (states_.detach() * 300).set_requires_grad(true);
  const torch::Tensor loss = next_item_loss(options_, states, items_, batch_);
  loss.backward();
  EXPECT_TRUE(loss.isfinite().item<bool>());
  EXPECT_TRUE(states.grad().isfinite().all().item<bool>());
}

TEST_P(Losses, NameWhatIsMissing) {
  SequenceBatch without;
  without.target = batch_.target;
  if (GetParam().loss == NextItemLoss::kSoftmax) {
    EXPECT_THROW(next_item_loss(options_, states_, items_.narrow(0, 0, 9), without), Error);
  } else {
    EXPECT_THROW(next_item_loss(options_, states_, items_, without), Error);
  }
  without.target.pop_back();
  EXPECT_THROW(next_item_loss(options_, states_, items_, without), Error);
}

INSTANTIATE_TEST_SUITE_P(All, Losses,
                         ::testing::Values(Case{"softmax", NextItemLoss::kSoftmax},
                                           Case{"sampled", NextItemLoss::kSampled},
                                           Case{"in_batch", NextItemLoss::kInBatch},
                                           Case{"bpr", NextItemLoss::kBpr},
                                           Case{"gbce", NextItemLoss::kGbce}),
                         [](const auto& entry) { return std::string(entry.param.name); });

}  // namespace
}  // namespace llmcf::models
