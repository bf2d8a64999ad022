#include "nn/optimizer.h"

#include <algorithm>
#include <numeric>
#include <span>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"

namespace llmcf::nn {

namespace {

constexpr int64_t kElements = 16384;  // one task of the dense pass
constexpr int64_t kRows = 64;         // one task of the sparse pass

// A piece of one parameter.
struct Piece {
  float *weight, *first, *second;
  const float* gradient;
  int64_t count;
};

}  // namespace

OptimizerOptions OptimizerOptions::from(const Config& config) {
  OptimizerOptions options;
  options.kind =
      config.get_choice("optimizer", options.kind, {"adam", "adamw_sparse", "rowwise_adagrad"});
  options.learning_rate = config.get_number("learning_rate", options.learning_rate, 0.0, 1e3);
  options.weight_decay = config.get_number("weight_decay", options.weight_decay, 0.0, 1e3);
  options.beta1 = config.get_number("beta1", options.beta1, 0.0, 0.999999);
  options.beta2 = config.get_number("beta2", options.beta2, 0.0, 0.999999999);
  options.epsilon = config.get_number("epsilon", options.epsilon, 1e-30, 1.0);
  return options;
}

Optimizer::Optimizer(const OptimizerOptions& options, std::vector<NamedTensor> parameters,
                     std::vector<EmbeddingTable*> tables)
    : options_(options), clock_(options), tables_(std::move(tables)) {
  for (auto& [name, parameter] : parameters) {
    LLMCF_ASSERT(parameter.is_contiguous());
    const at::NoGradGuard no_gradients;
    dense_.push_back({.name = name,
                      .parameter = parameter,
                      .first = at::zeros_like(parameter),
                      .second = at::zeros_like(parameter)});
  }
  for (EmbeddingTable* table : tables_) {
    updaters_.push_back(make_row_updater(options, table->values(), clock_));
    table->set_updater(updaters_.back().get());
  }
}

Optimizer::~Optimizer() {
  for (EmbeddingTable* table : tables_)
    table->set_updater(nullptr);
}

void Optimizer::step_dense() {
  std::vector<Piece> pieces;
  std::vector<torch::Tensor> gradients;  // keeps copies alive
  for (Dense& entry : dense_) {
    if (!entry.parameter.grad().defined()) continue;
    gradients.push_back(entry.parameter.grad().contiguous());
    for (int64_t begin = 0; begin < entry.parameter.numel(); begin += kElements)
      pieces.push_back({.weight = entry.parameter.data_ptr<float>() + begin,
                        .first = entry.first.data_ptr<float>() + begin,
                        .second = entry.second.data_ptr<float>() + begin,
                        .gradient = gradients.back().data_ptr<float>() + begin,
                        .count = std::min(kElements, entry.parameter.numel() - begin)});
  }
  const bool coupled = options_.kind == "adam";
  const auto decay = static_cast<float>(options_.learning_rate * options_.weight_decay);
  const auto total = static_cast<int64_t>(pieces.size());
  at::parallel_for(0, total, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece& p = pieces[static_cast<size_t>(i)];
      if (coupled)
        kernels::adam_step(clock_.constants(), clock_.scale(), p.weight, p.gradient, p.first,
                           p.second, p.count);
      else
        kernels::adamw_step(clock_.constants(), clock_.scale(), decay, p.weight, p.gradient,
                            p.first, p.second, p.count);
    }
  });
}

void Optimizer::step(const std::vector<SlabGradient>& slabs) {
  LLMCF_ASSERT(slabs.size() == tables_.size());
  clock_.begin_step(options_.learning_rate);
  step_dense();
  for (size_t t = 0; t < slabs.size(); ++t) {
    if (!slabs[t].slab.defined() || !slabs[t].slab.grad().defined()) continue;
    const torch::Tensor gradient = slabs[t].slab.grad();
    LLMCF_ASSERT(gradient.is_contiguous());
    const auto* values = gradient.data_ptr<float>();
    const int64_t width = tables_[t]->width();
    at::parallel_for(0, gradient.size(0), kRows, [&](int64_t begin, int64_t end) {
      updaters_[t]->update(
          std::span(*slabs[t].rows)
              .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
          values + begin * width);
    });
  }
  zero_grad();
}

void Optimizer::zero_grad() {
  for (Dense& entry : dense_)
    entry.parameter.mutable_grad().reset();
}

void Optimizer::flush() {
  for (size_t t = 0; t < tables_.size(); ++t) {
    std::vector<int32_t> rows(static_cast<size_t>(tables_[t]->rows()));
    std::iota(rows.begin(), rows.end(), 0);
    at::parallel_for(0, tables_[t]->rows(), kRows, [&](int64_t begin, int64_t end) {
      updaters_[t]->catch_up(
          std::span(rows).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    });
  }
  clock_.forget();
}

std::vector<NamedTensor> Optimizer::state() {
  flush();
  std::vector<NamedTensor> named;
  for (Dense& entry : dense_) {
    named.emplace_back("optimizer.first." + entry.name, entry.first);
    named.emplace_back("optimizer.second." + entry.name, entry.second);
  }
  for (size_t t = 0; t < tables_.size(); ++t) {
    for (auto& [name, tensor] : updaters_[t]->state())
      named.emplace_back("optimizer." + name + ".tables." + tables_[t]->name(), tensor);
  }
  return named;
}

void Optimizer::load_state(int64_t steps, const std::function<void(const NamedTensor&)>& fill) {
  for (const NamedTensor& entry : state())
    fill(entry);
  clock_.restart(steps);
  for (const auto& updater : updaters_)
    updater->state_loaded();
}

}  // namespace llmcf::nn
