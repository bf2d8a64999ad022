#include "models/trainable_ctr.h"

#include <cmath>
#include <cstring>

#include <ATen/core/grad_mode.h>

#include <fmt/format.h>

#include "core/error.h"
#include "models/recommender.h"
#include "nn/dropout.h"
#include "nn/optimizer.h"

namespace llmcf::models {

namespace {

constexpr const char* kSteps = "optimizer.steps";

Dtype dtype_of_tensor(const torch::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return Dtype::kF32;
  LLMCF_ASSERT(tensor.scalar_type() == at::kLong);  // batch norm's counter
  return Dtype::kI64;
}

void fill_from(const SafetensorsReader& reader, const nn::NamedTensor& entry) {
  const at::NoGradGuard no_gradients;
  const auto& [name, tensor] = entry;
  const TensorView& saved = reader.tensor(name);
  if (saved.shape != tensor.sizes().vec() || saved.dtype != dtype_of_tensor(tensor))
    throw InputError(
        reader.path().string(), 0,
        fmt::format("tensor '{}' is {} [{}], the model needs {} [{}]", name,
                    dtype_name(saved.dtype), fmt::join(saved.shape, ", "),
                    dtype_name(dtype_of_tensor(tensor)), fmt::join(tensor.sizes().vec(), ", ")));
  std::memcpy(tensor.data_ptr(), saved.data, saved.bytes);
}

StepLosses values_of(const Losses& losses) {
  return {.total = losses.total.item<double>(),
          .click = losses.click,
          .reconstruction = losses.reconstruction,
          .distillation = losses.distillation};
}

}  // namespace

bool StepLosses::finite() const {
  return std::isfinite(total);
}

struct TrainableCtr::Parts {
  Parts(const FeatureSpec& spec, const ModelOptions& options,
        const nn::OptimizerOptions& optimizer_options, const FrozenTables& frozen, uint64_t seed_)
      : seed(seed_),
        model(spec, options, frozen, seed_),
        optimizer(optimizer_options, model.dense_parameters(), model.tables()) {}

  void add(SafetensorsWriter& writer, const std::vector<nn::NamedTensor>& named) {
    for (const auto& [name, tensor] : named) {
      writer.add(name, dtype_of_tensor(tensor), tensor.sizes().vec(), tensor.data_ptr());
      exported.push_back(tensor);
    }
  }

  uint64_t seed;
  Recommender model;
  nn::Optimizer optimizer;
  std::vector<torch::Tensor> exported;  // alive until the file is written
  int64_t exported_steps = 0;
};

TrainableCtr::TrainableCtr(const FeatureSpec& spec, const ModelOptions& options,
                           const nn::OptimizerOptions& optimizer, const FrozenTables& frozen,
                           uint64_t seed)
    : parts_(std::make_unique<Parts>(spec, options, optimizer, frozen, seed)) {}

TrainableCtr::~TrainableCtr() = default;
TrainableCtr::TrainableCtr(TrainableCtr&&) noexcept = default;
TrainableCtr& TrainableCtr::operator=(TrainableCtr&&) noexcept = default;

StepLosses TrainableCtr::train_step(const Batch& batch) {
  parts_->exported.clear();
  const nn::DropoutScope dropout(parts_->seed, parts_->optimizer.steps());
  parts_->model.train();
  const Losses losses = parts_->model.loss(batch);
  const StepLosses values = values_of(losses);
  if (!values.finite()) return values;
  losses.total.backward();
  parts_->optimizer.step(parts_->model.slab_gradients());
  return values;
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
  const auto copy = [](const torch::Tensor& tensor, std::vector<float>& values) {
    const torch::Tensor flat = tensor.contiguous();
    const auto* from = flat.data_ptr<float>();
    values.assign(from, from + flat.numel());
  };
  Prediction prediction;
  copy(output.logits, prediction.logits);
  if (output.gate.defined()) copy(output.gate, prediction.gate);
  for (const float logit : prediction.logits)
    prediction.probabilities.push_back(1.0F / (1.0F + std::exp(-logit)));
  return prediction;
}

int64_t TrainableCtr::steps() const {
  return parts_->optimizer.steps();
}

int64_t TrainableCtr::parameters() const {
  int64_t count = 0;
  for (const auto& entry : parts_->model.dense_parameters())
    count += entry.second.numel();
  for (nn::EmbeddingTable* table : parts_->model.tables())
    count += table->values().numel();
  return count;
}

double TrainableCtr::learning_rate() const {
  return parts_->optimizer.learning_rate();
}

void TrainableCtr::set_learning_rate(double rate) {
  parts_->optimizer.set_learning_rate(rate);
}

void TrainableCtr::flush() {
  parts_->optimizer.flush();
}

void TrainableCtr::add_state(SafetensorsWriter& writer) {
  parts_->optimizer.flush();
  parts_->add(writer, parts_->model.state());
}

void TrainableCtr::load_state(const SafetensorsReader& reader) {
  parts_->optimizer.flush();
  parts_->model.load_state([&](const nn::NamedTensor& entry) { fill_from(reader, entry); });
}

void TrainableCtr::add_optimizer_state(SafetensorsWriter& writer) {
  parts_->add(writer, parts_->optimizer.state());
  parts_->exported_steps = steps();
  writer.add(kSteps, Dtype::kI64, {1}, &parts_->exported_steps);
}

void TrainableCtr::load_optimizer_state(const SafetensorsReader& reader) {
  const int64_t saved_steps = reader.get<int64_t>(kSteps, {1})[0];
  parts_->optimizer.load_state(saved_steps,
                               [&](const nn::NamedTensor& entry) { fill_from(reader, entry); });
}

}  // namespace llmcf::models
