// What a Trainable holds: its model and the optimiser of it. Behind the torch wall.
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

#include "models/objective.h"
#include "models/tabled_model.h"
#include "models/trainable.h"
#include "nn/dropout.h"
#include "nn/optimizer.h"

namespace llmcf::models {

StepLosses values_of(const Losses& losses);
// A copy, row-major.
std::vector<float> values_of(const torch::Tensor& tensor);

struct Trainable::Core {
  Core(TabledModel& trained, const nn::OptimizerOptions& options)
      : model(trained), optimizer(options, trained.dense_parameters(), trained.tables()) {}

  // Forward, backward, update of `trained`, which is `model`. Nothing is updated unless the loss is
  // finite.
  template <typename Model, typename ModelBatch>
  StepLosses train_step(uint64_t seed, Model& trained, const ModelBatch& batch) {
    exported.clear();
    const nn::DropoutScope dropout(seed, optimizer.steps());
    trained.train();
    const Losses losses = trained.loss(batch);
    const StepLosses values = values_of(losses);
    if (!values.finite()) return values;
    losses.total.backward();
    optimizer.step(trained.slab_gradients());
    return values;
  }

  void add(SafetensorsWriter& writer, const std::vector<nn::NamedTensor>& named);

  TabledModel& model;
  nn::Optimizer optimizer;
  std::vector<torch::Tensor> exported;  // alive until the file is written
  int64_t exported_steps = 0;
};

}  // namespace llmcf::models
