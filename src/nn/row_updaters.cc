#include "nn/row_updaters.h"

#include <cmath>

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"

namespace llmcf::nn {

namespace {

class DenseEquivalentAdam final : public RowUpdater {
 public:
  DenseEquivalentAdam(torch::Tensor values, const StepClock& clock)
      : values_(std::move(values)),
        first_(at::zeros_like(values_)),
        second_(at::zeros_like(values_)),
        last_(static_cast<size_t>(values_.size(0)), clock.step()),
        clock_(clock) {}

  void catch_up(std::span<const int32_t> rows) override {
    for (const int32_t row : rows)
      replay(row, clock_.step());
  }

  void update(std::span<const int32_t> rows, const float* gradient) override {
    const int64_t width = values_.size(1);
    for (const int32_t row : rows) {
      replay(row, clock_.step() - 1);
      kernels::adam_step(clock_.constants(), clock_.scale(), at(values_, row), gradient,
                         at(first_, row), at(second_, row), width);
      last_[static_cast<size_t>(row)] = clock_.step();
      gradient += width;
    }
  }

  std::vector<NamedTensor> state() override { return {{"first", first_}, {"second", second_}}; }
  void state_loaded() override { last_.assign(last_.size(), clock_.step()); }

 private:
  static float* at(const torch::Tensor& tensor, int64_t row) {
    return tensor.data_ptr<float>() + row * tensor.size(1);
  }

  void replay(int32_t row, int64_t step) {
    int64_t& last = last_[static_cast<size_t>(row)];
    if (last >= step) return;
    kernels::adam_replay(clock_.constants(), clock_.after(last), step - last, at(values_, row),
                         at(first_, row), at(second_, row), values_.size(1));
    last = step;
  }

  torch::Tensor values_, first_, second_;
  std::vector<int64_t> last_;  // [V] the step up to which a row is current
  const StepClock& clock_;
};

class SparseAdamW final : public RowUpdater {
 public:
  SparseAdamW(torch::Tensor values, const StepClock& clock)
      : values_(std::move(values)),
        first_(at::zeros_like(values_)),
        second_(at::zeros_like(values_)),
        clock_(clock) {}

  void catch_up(std::span<const int32_t>) override {}

  void update(std::span<const int32_t> rows, const float* gradient) override {
    const int64_t width = values_.size(1);
    const auto decay = static_cast<float>(clock_.learning_rate()) * clock_.constants().weight_decay;
    for (const int32_t row : rows) {
      const int64_t at = row * width;
      kernels::adamw_step(clock_.constants(), clock_.scale(), decay, values_.data_ptr<float>() + at,
                          gradient, first_.data_ptr<float>() + at, second_.data_ptr<float>() + at,
                          width);
      gradient += width;
    }
  }

  std::vector<NamedTensor> state() override { return {{"first", first_}, {"second", second_}}; }
  void state_loaded() override {}

 private:
  torch::Tensor values_, first_, second_;
  const StepClock& clock_;
};

class RowwiseAdagrad final : public RowUpdater {
 public:
  RowwiseAdagrad(torch::Tensor values, const StepClock& clock)
      : values_(std::move(values)), sums_(at::zeros({values_.size(0)})), clock_(clock) {}

  void catch_up(std::span<const int32_t>) override {}

  void update(std::span<const int32_t> rows, const float* gradient) override {
    const int64_t width = values_.size(1);
    const auto rate = static_cast<float>(clock_.learning_rate());
    const float keep = 1.0F - rate * clock_.constants().weight_decay;
    for (const int32_t row : rows) {
      float squares = 0;
      for (int64_t i = 0; i < width; ++i)
        squares += gradient[i] * gradient[i];
      float& sum = sums_.data_ptr<float>()[row];
      sum += squares / static_cast<float>(width);
      const float step = rate / (std::sqrt(sum) + clock_.constants().epsilon);
      float* weight = values_.data_ptr<float>() + row * width;
      for (int64_t i = 0; i < width; ++i)
        weight[i] = keep * weight[i] - step * gradient[i];
      gradient += width;
    }
  }

  std::vector<NamedTensor> state() override { return {{"sum", sums_}}; }
  void state_loaded() override {}

 private:
  torch::Tensor values_, sums_;
  const StepClock& clock_;
};

}  // namespace

StepClock::StepClock(const OptimizerOptions& options)
    : constants_{.weight_decay = static_cast<float>(options.weight_decay),
                 .beta1 = static_cast<float>(options.beta1),
                 .rest1 = static_cast<float>(1.0 - options.beta1),
                 .beta2 = static_cast<float>(options.beta2),
                 .rest2 = static_cast<float>(1.0 - options.beta2),
                 .epsilon = static_cast<float>(options.epsilon)},
      beta1_(options.beta1),
      beta2_(options.beta2) {}

void StepClock::begin_step(double learning_rate) {
  ++step_;
  learning_rate_ = learning_rate;
  const auto t = static_cast<double>(step_);
  scales_.push_back(
      {.step_size = static_cast<float>(learning_rate / (1.0 - std::pow(beta1_, t))),
       .inverse_root_correction = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2_, t)))});
}

void StepClock::restart(int64_t step) {
  step_ = step;
  scales_.clear();
}

std::unique_ptr<RowUpdater> make_row_updater(const OptimizerOptions& options, torch::Tensor values,
                                             const StepClock& clock) {
  if (options.kind == "adam")
    return std::make_unique<DenseEquivalentAdam>(std::move(values), clock);
  if (options.kind == "adamw_sparse")
    return std::make_unique<SparseAdamW>(std::move(values), clock);
  if (options.kind == "rowwise_adagrad")
    return std::make_unique<RowwiseAdagrad>(std::move(values), clock);
  throw Error(unknown_name("optimizer", options.kind, {"adam", "adamw_sparse", "rowwise_adagrad"}));
}

}  // namespace llmcf::nn
