#include "models/trainable.h"

#include <cmath>
#include <cstring>

#include <ATen/core/grad_mode.h>

#include <fmt/format.h>

#include "core/error.h"
#include "models/trainable_core.h"

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

}  // namespace

StepLosses values_of(const Losses& losses) {
  return {.total = losses.total.item<double>(),
          .click = losses.click,
          .reconstruction = losses.reconstruction,
          .distillation = losses.distillation};
}

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  const auto* from = flat.data_ptr<float>();
  return {from, from + flat.numel()};
}

bool StepLosses::finite() const {
  return std::isfinite(total);
}

void Trainable::Core::add(SafetensorsWriter& writer, const std::vector<nn::NamedTensor>& named) {
  for (const auto& [name, tensor] : named) {
    writer.add(name, dtype_of_tensor(tensor), tensor.sizes().vec(), tensor.data_ptr());
    exported.push_back(tensor);
  }
}

const Trainable::Core& Trainable::core() const {
  return const_cast<Trainable*>(this)->core();  // NOLINT: the derived classes' is the same object
}

int64_t Trainable::steps() const {
  return core().optimizer.steps();
}

int64_t Trainable::parameters() const {
  TabledModel& model = core().model;
  int64_t count = 0;
  for (const auto& entry : model.dense_parameters())
    count += entry.second.numel();
  for (nn::EmbeddingTable* table : model.tables())
    count += table->values().numel();
  return count;
}

double Trainable::learning_rate() const {
  return core().optimizer.learning_rate();
}

void Trainable::set_learning_rate(double rate) {
  core().optimizer.set_learning_rate(rate);
}

void Trainable::flush() {
  core().optimizer.flush();
}

void Trainable::add_state(SafetensorsWriter& writer) {
  core().optimizer.flush();
  core().add(writer, core().model.state());
}

void Trainable::load_state(const SafetensorsReader& reader) {
  core().optimizer.flush();
  core().model.load_state([&](const nn::NamedTensor& entry) { fill_from(reader, entry); });
}

void Trainable::add_optimizer_state(SafetensorsWriter& writer) {
  core().add(writer, core().optimizer.state());
  core().exported_steps = steps();
  writer.add(kSteps, Dtype::kI64, {1}, &core().exported_steps);
}

void Trainable::load_optimizer_state(const SafetensorsReader& reader) {
  const int64_t saved_steps = reader.get<int64_t>(kSteps, {1})[0];
  core().optimizer.load_state(saved_steps,
                              [&](const nn::NamedTensor& entry) { fill_from(reader, entry); });
}

}  // namespace llmcf::models
