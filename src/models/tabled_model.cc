#include "models/tabled_model.h"

#include <ATen/core/grad_mode.h>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::models {

nn::InitKind TabledModel::init_kind(const ModelOptions& options, nn::InitKind own) {
  if (options.init.empty()) return own;
  return options.init == "xavier" ? nn::InitKind::kXavier : nn::InitKind::kDefault;
}

void TabledModel::make_tables(const std::vector<TableSpec>& specs, const TableOptions& options,
                              uint64_t seed) {
  for (const TableSpec& table : specs) {
    tables_.push_back(std::make_unique<nn::EmbeddingTable>(table.name, table.rows, options.dim,
                                                           options.first_order));
    tables_.back()->initialise(options.init, seed, options.zero_padding);
  }
}

std::vector<torch::Tensor> TabledModel::gather(const std::vector<TableRows>& rows) {
  if (rows.size() < tables_.size())
    throw Error(fmt::format("the batch has {} tables, the model {}", rows.size(), tables_.size()));
  slabs_.clear();
  std::vector<torch::Tensor> slabs;
  for (size_t t = 0; t < tables_.size(); ++t) {
    slabs.push_back(tables_[t]->gather(rows[t].rows, at::GradMode::is_enabled()));
    slabs_.push_back({.rows = &rows[t].rows, .slab = slabs.back()});
  }
  return slabs;
}

std::vector<nn::EmbeddingTable*> TabledModel::tables() {
  std::vector<nn::EmbeddingTable*> tables;
  for (const auto& table : tables_)
    tables.push_back(table.get());
  return tables;
}

std::vector<nn::NamedTensor> TabledModel::dense_parameters() {
  std::vector<nn::NamedTensor> named;
  for (const auto& entry : named_parameters())
    named.emplace_back(entry.key(), entry.value());
  return named;
}

std::vector<nn::NamedTensor> TabledModel::state() {
  std::vector<nn::NamedTensor> named = dense_parameters();
  for (const auto& entry : named_buffers())
    named.emplace_back(entry.key(), entry.value());
  for (const auto& table : tables_) {
    named.emplace_back("tables." + table->name(), table->embedding().contiguous());
    if (table->has_first_order())
      named.emplace_back("first_order." + table->name(), table->first_order().contiguous());
  }
  return named;
}

void TabledModel::load_state(const std::function<void(const nn::NamedTensor&)>& fill) {
  for (const nn::NamedTensor& entry : state())
    fill(entry);  // parameters and buffers in place; tables are copies
  for (const auto& table : tables_) {
    const torch::Tensor embedding = table->embedding().contiguous();
    fill({"tables." + table->name(), embedding});
    table->embedding().copy_(embedding);
    if (!table->has_first_order()) continue;
    const torch::Tensor linear = table->first_order().contiguous();
    fill({"first_order." + table->name(), linear});
    table->first_order().copy_(linear);
  }
}

}  // namespace llmcf::models
