#include "models/trainable_sequence.h"

#include <ATen/core/grad_mode.h>

#include "models/sequence_recommender.h"
#include "models/trainable_core.h"

namespace llmcf::models {

struct TrainableSequence::Parts {
  Parts(const SequenceData& data, const ModelOptions& options,
        const nn::OptimizerOptions& optimizer, const FrozenTables& frozen, uint64_t seed_)
      : seed(seed_), model(data, options, frozen, seed_), core(model, optimizer) {}

  uint64_t seed;
  SequenceRecommender model;
  Core core;
};

TrainableSequence::TrainableSequence(const SequenceData& data, const ModelOptions& options,
                                     const nn::OptimizerOptions& optimizer,
                                     const FrozenTables& frozen, uint64_t seed)
    : parts_(std::make_unique<Parts>(data, options, optimizer, frozen, seed)) {}

TrainableSequence::~TrainableSequence() = default;
TrainableSequence::TrainableSequence(TrainableSequence&&) noexcept = default;
TrainableSequence& TrainableSequence::operator=(TrainableSequence&&) noexcept = default;

Trainable::Core& TrainableSequence::core() {
  return parts_->core;
}

StepLosses TrainableSequence::train_step(const SequenceBatch& batch) {
  return parts_->core.train_step(parts_->seed, parts_->model, batch);
}

std::vector<float> TrainableSequence::states(const SequenceBatch& batch) {
  const at::NoGradGuard no_gradients;
  parts_->model.eval();
  return values_of(parts_->model.forward(batch).state);
}

std::vector<float> TrainableSequence::item_vectors() {
  flush();
  return values_of(parts_->model.item_vectors());
}

}  // namespace llmcf::models
