// Embedding tables as sparse parameters, and the bags pooled over them.
//
// A table is [V, width] of plain memory, never a dense autograd parameter: a batch gathers the
// distinct rows it uses into a slab [U, width] that requires a gradient, the optimiser reads the
// slab's gradient. Column D of a table with a first-order part is the row's weight in a linear
// model: the two share ids, so they are gathered, replayed and updated together.
//
// Invariants:
//  1. Before rows are gathered their updater (if any) has brought them up to date.
//  2. With `frozen_padding`, row 0 receives no gradient (it is still decayed).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

#include "nn/init.h"

namespace llmcf::nn {

// Keeps the rows of one table current and moves them. See nn/row_updaters.h.
class RowUpdater;

class EmbeddingTable {
 public:
  EmbeddingTable(std::string name, int64_t rows, int64_t dim, bool first_order);

  const std::string& name() const { return name_; }
  int64_t rows() const { return values_.size(0); }
  int64_t dim() const { return dim_; }
  int64_t width() const { return values_.size(1); }
  bool has_first_order() const { return width() > dim_; }

  torch::Tensor& values() { return values_; }  // [V, width]
  torch::Tensor embedding() const;             // [V, D], a view
  torch::Tensor first_order() const;           // [V, 1], a view

  // Draws all rows; row 0 is zero unless the kind overwrites it (xavier, paper only).
  void initialise(InitKind kind, uint64_t seed, bool zero_padding);

  void set_updater(RowUpdater* updater) { updater_ = updater; }
  // The slab [U, width] of distinct ascending rows; a leaf when `gradients`. Throws Error naming
  // the table and a row that is out of range.
  torch::Tensor gather(const std::vector<int32_t>& rows, bool gradients);

 private:
  std::string name_;
  int64_t dim_;
  torch::Tensor values_;
  RowUpdater* updater_ = nullptr;
};

// One field: which slab, and what of it. Pointers are alive until the backward pass.
struct PooledField {
  const std::vector<int32_t>* offsets = nullptr;  // [S + 1]
  const std::vector<int32_t>* ids = nullptr;      // slab rows
  const std::vector<float>* weights = nullptr;    // empty = all 1
  int table = 0;
  bool first_order = false;  // counts in the linear model
};

struct PooledBatch {
  int64_t queries = 0;               // B
  int64_t samples = 0;               // S
  int64_t dim = 0;                   // D
  std::vector<PooledField> fields;   // [F]
  std::vector<int32_t> frozen_rows;  // [tables] the slab row that is padding; -1 = none
};

struct Pooled {
  torch::Tensor queries;      // [B, F, D]
  torch::Tensor samples;      // [S, F, D], undefined unless asked for
  torch::Tensor first_order;  // [B]; zeros where no table has a first-order part
};

// Mean of each bag's rows, zeros for an empty bag. `batch` must stay alive until the backward pass.
Pooled pool(const std::vector<torch::Tensor>& slabs, const PooledBatch& batch, bool all_samples);

}  // namespace llmcf::nn
