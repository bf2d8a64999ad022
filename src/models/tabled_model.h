// What every recommender is made of besides its network: embedding tables that a batch gathers rows
// of, and a state that is saved and loaded by name.
//
// Invariants:
//  1. State names are member names: "tables.<name>", "first_order.<name>", then the modules'.
//  2. Between forward and backward the batch stays alive and no other forward pass runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "models/batch.h"
#include "models/options.h"
#include "nn/embedding.h"
#include "nn/init.h"
#include "nn/optimizer.h"

namespace llmcf::models {

class TabledModel : public torch::nn::Module {
 public:
  // One per table, of the last forward pass.
  const std::vector<nn::SlabGradient>& slab_gradients() const { return slabs_; }
  std::vector<nn::EmbeddingTable*> tables();
  std::vector<nn::NamedTensor> dense_parameters();
  // Parameters, tables and buffers by name, contiguous (tables as copies). Rows must be current.
  std::vector<nn::NamedTensor> state();
  // `fill` writes the saved values of a name into the tensor.
  void load_state(const std::function<void(const nn::NamedTensor&)>& fill);

 protected:
  struct TableOptions {
    int64_t dim = 0;
    bool first_order = false;
    nn::InitKind init = nn::InitKind::kDefault;
    bool zero_padding = true;
  };
  void make_tables(const std::vector<TableSpec>& specs, const TableOptions& options, uint64_t seed);
  // The slabs of the batch's rows, one per table of the model; leaves where gradients are on.
  std::vector<torch::Tensor> gather(const std::vector<TableRows>& rows);
  // The kind that the options ask for, else the backbone's own.
  static nn::InitKind init_kind(const ModelOptions& options, nn::InitKind own);

  std::vector<std::unique_ptr<nn::EmbeddingTable>> tables_;
  std::vector<nn::SlabGradient> slabs_;
};

}  // namespace llmcf::models
