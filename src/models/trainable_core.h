// What a Trainable holds: its model and the optimiser of it. Behind the torch wall.
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

#include "models/objective.h"
#include "models/tabled_model.h"
#include "models/trainable.h"
#include "nn/optimizer.h"

namespace llmcf::models {

StepLosses values_of(const Losses& losses);
// A copy, row-major.
std::vector<float> values_of(const torch::Tensor& tensor);

struct Trainable::Core {
  Core(TabledModel& trained, const nn::OptimizerOptions& options)
      : model(trained), optimizer(options, trained.dense_parameters(), trained.tables()) {}

  void add(SafetensorsWriter& writer, const std::vector<nn::NamedTensor>& named);

  TabledModel& model;
  nn::Optimizer optimizer;
  std::vector<torch::Tensor> exported;  // alive until the file is written
  int64_t exported_steps = 0;
};

}  // namespace llmcf::models
