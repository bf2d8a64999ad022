// How parameters move, as the run file says it (section `train`). No libtorch in here.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"

namespace llmcf::nn {

struct OptimizerOptions {
  // adam             Adam with coupled L2 over every parameter at every step, embedding rows
  // outside
  //                  the batch included: the trajectory of dense Adam at sparse cost.
  // adamw_sparse     decoupled weight decay; an embedding row moves only when the batch uses it.
  // rowwise_adagrad  one accumulator per embedding row, moved only when used; AdamW for the rest.
  std::string kind = "adam";
  double learning_rate = 0.01;
  double weight_decay = 1e-4;  // 0 = none
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;

  // Reads the keys optimizer, learning_rate, weight_decay, beta1, beta2 and epsilon.
  static OptimizerOptions from(const Config& config);
};

}  // namespace llmcf::nn
