#include "models/trainable_ctr.h"

#include <cmath>

#include <ATen/core/grad_mode.h>

#include "models/recommender.h"
#include "models/trainable_core.h"
#include "nn/dropout.h"

namespace llmcf::models {

namespace {

StepLosses values_of(const Losses& losses) {
  return {.total = losses.total.item<double>(),
          .click = losses.click,
          .reconstruction = losses.reconstruction,
          .distillation = losses.distillation};
}

}  // namespace

struct TrainableCtr::Parts {
  Parts(const FeatureSpec& spec, const ModelOptions& options,
        const nn::OptimizerOptions& optimizer, const FrozenTables& frozen, uint64_t seed_)
      : seed(seed_), model(spec, options, frozen, seed_), core(model, optimizer) {}

  uint64_t seed;
  Recommender model;
  Core core;
};

TrainableCtr::TrainableCtr(const FeatureSpec& spec, const ModelOptions& options,
                           const nn::OptimizerOptions& optimizer, const FrozenTables& frozen,
                           uint64_t seed)
    : parts_(std::make_unique<Parts>(spec, options, optimizer, frozen, seed)) {}

TrainableCtr::~TrainableCtr() = default;
TrainableCtr::TrainableCtr(TrainableCtr&&) noexcept = default;
TrainableCtr& TrainableCtr::operator=(TrainableCtr&&) noexcept = default;

Trainable::Core& TrainableCtr::core() {
  return parts_->core;
}

StepLosses TrainableCtr::train_step(const Batch& batch) {
  parts_->core.exported.clear();
  const nn::DropoutScope dropout(parts_->seed, parts_->core.optimizer.steps());
  parts_->model.train();
  const Losses losses = parts_->model.loss(batch);
  const StepLosses values = values_of(losses);
  if (!values.finite()) return values;
  losses.total.backward();
  parts_->core.optimizer.step(parts_->model.slab_gradients());
  return values;
}

StepLosses TrainableCtr::evaluate_loss(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  parts_->model.eval();
  return values_of(parts_->model.loss(batch));
}

Prediction TrainableCtr::predict(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  parts_->model.eval();
  const RecommenderOutput output = parts_->model.forward(batch);
  const auto copy = [](const torch::Tensor& tensor, std::vector<float>& values) {
    const torch::Tensor flat = tensor.contiguous();
    const auto* from = flat.data_ptr<float>();
    values.assign(from, from + flat.numel());
  };
  Prediction prediction;
  copy(output.logits, prediction.logits);
  if (output.gate.defined()) copy(output.gate, prediction.gate);
  for (const float logit : prediction.logits)
    prediction.probabilities.push_back(1.0F / (1.0F + std::exp(-logit)));
  return prediction;
}

}  // namespace llmcf::models
