#include "models/sequence_objective.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::models {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBlockFloats = int64_t{1} << 20;  // of scores at a time

// The arrays of a batch that losses read. Lives until the forward pass is over.
struct Task {
  const SequenceOptions& options;
  const SequenceBatch& batch;
  torch::Tensor candidates;  // int32 [C] item rows

  int64_t target(int64_t query) const { return batch.target[static_cast<size_t>(query)]; }
  int32_t candidate(int64_t c) const { return candidates.data_ptr<int32_t>()[c]; }
};

torch::Tensor copy_of(const std::vector<int32_t>& values) {
  torch::Tensor copy = at::empty({static_cast<int64_t>(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), copy.data_ptr<int32_t>());
  return copy;
}

double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}
double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// Turns scores [b, C] of queries [first, first + b) into slopes of the summed loss; `own` [b] holds
// the targets' scores and becomes their slopes. Returns the summed loss.

// One of the candidates is the target where `included`, else the target's score stands apart.
double softmax_block(torch::Tensor& scores, torch::Tensor& own, const std::vector<int64_t>& place) {
  const bool included = !place.empty();
  torch::Tensor largest = std::get<0>(scores.max(1));
  if (!included) largest = largest.maximum(own);
  scores.sub_(largest.unsqueeze(1)).exp_();
  torch::Tensor sum = scores.sum(1);
  const torch::Tensor shifted = own - largest;
  if (!included) sum = sum + shifted.exp();
  const double loss = (sum.log() - shifted).sum().item<double>();
  scores.div_(sum.unsqueeze(1));
  if (included) {
    for (size_t row = 0; row < place.size(); ++row)
      scores.data_ptr<float>()[static_cast<int64_t>(row) * scores.size(1) + place[row]] -= 1;
    own.zero_();
  } else {
    own.copy_(shifted.exp().div_(sum).sub_(1));
  }
  return loss;
}

double pairwise_block(const Task& task, torch::Tensor& scores, torch::Tensor& own, int64_t first) {
  const int64_t rows = scores.size(0), C = scores.size(1);
  auto *s = scores.data_ptr<float>(), *t = own.data_ptr<float>();
  double loss = 0;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t counted = 0;
    for (int64_t c = 0; c < C; ++c)
      counted += task.candidate(c) != task.target(first + r);
    double slope = 0;
    const double share = counted == 0 ? 0 : 1.0 / static_cast<double>(counted);
    for (int64_t c = 0; c < C; ++c) {
      float& score = s[r * C + c];
      if (task.candidate(c) == task.target(first + r)) {
        score = 0;
        continue;
      }
      const double x = score - t[r];
      loss += share * softplus(x);
      const double up = share * sigmoid(x);
      score = static_cast<float>(up);
      slope -= up;
    }
    t[r] = static_cast<float>(slope);
  }
  return loss;
}

double gbce_block(const Task& task, torch::Tensor& scores, torch::Tensor& own, int64_t first,
                  double items) {
  const int64_t rows = scores.size(0), C = scores.size(1);
  const double a = std::min(1.0, static_cast<double>(C) / std::max(items - 1, 1.0));
  const double calibration = task.options.calibration;
  const double beta = a * (calibration * (1 - 1 / a) + 1 / a);
  auto *s = scores.data_ptr<float>(), *t = own.data_ptr<float>();
  double loss = 0;
  for (int64_t r = 0; r < rows; ++r) {
    loss += beta * softplus(-t[r]);
    t[r] = static_cast<float>(-beta * sigmoid(-t[r]));
    for (int64_t c = 0; c < C; ++c) {
      float& score = s[r * C + c];
      const bool own_item = task.candidate(c) == task.target(first + r);
      loss += own_item ? 0 : softplus(score);
      score = own_item ? 0 : static_cast<float>(sigmoid(score));
    }
  }
  return loss;
}

// In-batch negatives: scores less the log share of each candidate; the target's own column is the
// positive, further queries with the same target are not negatives.
void correct_in_batch(const Task& task, torch::Tensor& scores, torch::Tensor& own, int64_t first) {
  const int64_t rows = scores.size(0), C = scores.size(1);
  auto *s = scores.data_ptr<float>(), *t = own.data_ptr<float>();
  const std::vector<float>& share = task.batch.log_share;
  for (int64_t r = 0; r < rows; ++r) {
    t[r] -= share[static_cast<size_t>(first + r)];
    for (int64_t c = 0; c < C; ++c) {
      float& score = s[r * C + c];
      if (task.candidate(c) == task.target(first + r)) {
        score = -std::numeric_limits<float>::infinity();
      } else {
        score -= share[static_cast<size_t>(c)];
      }
    }
  }
}

void mask_collisions(const Task& task, torch::Tensor& scores, int64_t first) {
  const int64_t C = scores.size(1);
  auto* s = scores.data_ptr<float>();
  for (int64_t r = 0; r < scores.size(0); ++r)
    for (int64_t c = 0; c < C; ++c)
      if (task.candidate(c) == task.target(first + r))
        s[r * C + c] = -std::numeric_limits<float>::infinity();
}

double loss_block(const Task& task, torch::Tensor& scores, torch::Tensor& own, int64_t first,
                  int64_t items) {
  switch (task.options.loss) {
    case NextItemLoss::kSoftmax: {
      std::vector<int64_t> place;  // candidates are rows 1, 2, ...
      for (int64_t r = 0; r < scores.size(0); ++r)
        place.push_back(task.target(first + r) - 1);
      return softmax_block(scores, own, place);
    }
    case NextItemLoss::kSampled:
      mask_collisions(task, scores, first);
      return softmax_block(scores, own, {});
    case NextItemLoss::kInBatch:
      correct_in_batch(task, scores, own, first);
      return softmax_block(scores, own, {});
    case NextItemLoss::kBpr:
      return pairwise_block(task, scores, own, first);
    case NextItemLoss::kGbce:
      return gbce_block(task, scores, own, first, static_cast<double>(items));
  }
  throw Error("next_item_loss: unknown loss");
}

struct Gradients {
  double loss = 0;
  torch::Tensor states, items;  // [Q, D], [U, D]
};

Gradients gradients_of(const Task& task, const torch::Tensor& states, const torch::Tensor& items) {
  const bool whole = task.options.loss == NextItemLoss::kSoftmax;
  const int64_t Q = states.size(0), C = task.candidates.size(0);
  const int64_t catalogue = task.options.catalogue;
  const torch::Tensor targets = copy_of(task.batch.target);
  const torch::Tensor others =
      whole ? items.narrow(0, 1, C) : at::index_select(items, 0, task.candidates);  // [C, D]
  Gradients result{.states = at::empty(states.sizes()), .items = at::zeros(items.sizes())};
  torch::Tensor others_slope = whole ? result.items.narrow(0, 1, C) : at::zeros(others.sizes());
  const int64_t block = std::clamp<int64_t>(kBlockFloats / std::max<int64_t>(C, 1), 16, 4096);
  for (int64_t first = 0; first < Q; first += block) {
    const int64_t rows = std::min(block, Q - first);
    const torch::Tensor state = states.narrow(0, first, rows);
    const torch::Tensor target_rows = targets.narrow(0, first, rows);
    const torch::Tensor target = at::index_select(items, 0, target_rows);
    torch::Tensor scores = at::mm(state, others.t());
    torch::Tensor own = (state * target).sum(1);
    result.loss += loss_block(task, scores, own, first, catalogue);
    torch::Tensor slope = at::mm(scores, others);
    others_slope.addmm_(scores.t(), state);
    if (!whole) {
      slope.addcmul_(own.unsqueeze(1), target);
      result.items.index_add_(0, target_rows, own.unsqueeze(1) * state);
    }
    result.states.narrow(0, first, rows).copy_(slope);
  }
  if (!whole) result.items.index_add_(0, task.candidates, others_slope);
  const double rows = static_cast<double>(Q);
  result.loss /= rows;
  result.states.div_(rows);
  result.items.div_(rows);
  return result;
}

class NextItemFunction : public torch::autograd::Function<NextItemFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& states,
                               const torch::Tensor& items, const Task* task) {
    const Gradients gradients = gradients_of(*task, states.contiguous(), items.contiguous());
    context->save_for_backward({gradients.states, gradients.items});
    return at::full({}, gradients.loss, states.options());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {saved[0] * gradients[0], saved[1] * gradients[0], {}};
  }
};

}  // namespace

torch::Tensor next_item_loss(const SequenceOptions& options, const torch::Tensor& states,
                             const torch::Tensor& items, const SequenceBatch& batch) {
  const auto Q = static_cast<size_t>(states.size(0));
  if (batch.target.size() != Q || Q == 0)
    throw Error(fmt::format("next_item_loss: {} targets for {} states", batch.target.size(), Q));
  Task task{options, batch, {}};
  if (options.loss == NextItemLoss::kSoftmax) {
    // Row 0 pads, the last one may be out-of-vocabulary: neither is an item.
    task.candidates = at::empty({options.catalogue}, at::kInt);
    if (items.size(0) < options.catalogue + 1)
      throw Error(fmt::format("loss 'softmax' needs all {} items in the batch, which has {} rows",
                              options.catalogue, items.size(0)));
  } else if (options.loss == NextItemLoss::kInBatch) {
    if (batch.log_share.size() != Q)
      throw Error("loss 'in_batch' needs the log share of every target");
    task.candidates = copy_of(batch.target);
  } else {
    if (batch.negative.empty()) throw Error("the batch has no negatives");
    task.candidates = copy_of(batch.negative);
  }
  return NextItemFunction::apply(states, items, &task);
}

}  // namespace llmcf::models
