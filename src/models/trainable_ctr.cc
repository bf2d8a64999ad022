#include "models/trainable_ctr.h"

#include <cmath>

#include <ATen/core/grad_mode.h>

#include "models/recommender.h"
#include "models/trainable_core.h"

namespace llmcf::models {

struct TrainableCtr::Parts {
  Parts(const FeatureSpec& spec, const ModelOptions& options, const nn::OptimizerOptions& optimizer,
        const FrozenTables& frozen, uint64_t seed_)
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
  return parts_->core.train_step(parts_->seed, parts_->model, batch);
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
  Prediction prediction;
  prediction.logits = values_of(output.logits);
  if (output.gate.defined()) prediction.gate = values_of(output.gate);
  for (const float logit : prediction.logits)
    prediction.probabilities.push_back(1.0F / (1.0F + std::exp(-logit)));
  return prediction;
}

}  // namespace llmcf::models
