#include "models/objective.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::models {

namespace {

struct Term {
  double loss = 0;
  double slope = 0;  // d loss / d logit
};

Term on_logits(float logit, double target) {
  const double x = logit;
  const double probability = 1.0 / (1.0 + std::exp(-x));
  return {std::max(x, 0.0) - x * target + std::log1p(std::exp(-std::abs(x))), probability - target};
}

// The arithmetic of a float32 sigmoid and binary_cross_entropy, gradient included.
Term on_probabilities(float logit, double target) {
  const float p = 1.0F / (1.0F + std::exp(-logit));
  const auto y = static_cast<float>(target);
  const float log_p = std::max(std::log(p), -100.0F);
  const float log_rest = std::max(std::log1p(-p), -100.0F);
  const float slope = (p - y) / std::max((1.0F - p) * p, 1e-12F) * ((1.0F - p) * p);
  return {(y - 1.0F) * log_rest - y * log_p, slope};
}

bool has_teacher(std::span<const float> teacher, size_t row) {
  return !std::isnan(teacher[2 * row]) && !std::isnan(teacher[2 * row + 1]);
}

double count_taught(std::span<const float> teacher) {
  double taught = 0;
  for (size_t row = 0; row < teacher.size() / 2; ++row)
    taught += has_teacher(teacher, row) ? 1 : 0;
  return taught;
}

double soft_target(std::span<const float> teacher, size_t row, double temperature) {
  const double yes = teacher[2 * row] / temperature, no = teacher[2 * row + 1] / temperature;
  return 1.0 / (1.0 + std::exp(no - yes));
}

// total = value + weight * reconstruction, with the slopes already known. Without reconstruction it
// is an empty tensor (libtorch 1.13 takes no undefined ones here).
class ObjectiveFunction : public torch::autograd::Function<ObjectiveFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& logits, const torch::Tensor& reconstruction,
                               const torch::Tensor& slopes, double value, double weight) {
    context->save_for_backward({slopes});
    context->saved_data["weight"] = weight;
    const bool reconstructs = reconstruction.numel() > 0;
    context->saved_data["reconstructs"] = reconstructs;
    const double extra = reconstructs ? weight * reconstruction.item<double>() : 0.0;
    return at::full({}, value + extra, logits.options());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::Tensor down;
    if (context->saved_data["reconstructs"].toBool())
      down = gradients[0] * context->saved_data["weight"].toDouble();
    return {context->get_saved_variables()[0] * gradients[0], down, {}, {}, {}};
  }
};

}  // namespace

Losses objective(const ObjectiveOptions& options, const torch::Tensor& logits,
                 std::span<const float> labels, std::span<const float> teacher_logits,
                 const torch::Tensor& reconstruction) {
  const auto B = static_cast<size_t>(logits.numel());
  const bool distils = options.distillation_weight > 0;
  if (labels.size() != B)
    throw Error(fmt::format("objective: {} labels for {} rows", labels.size(), B));
  if (distils && teacher_logits.size() != 2 * B)
    throw Error(
        fmt::format("distillation.weight is {} but the batch carries {} teacher logits for "
                    "{} rows; give the data set a teacher or set the weight to 0",
                    options.distillation_weight, teacher_logits.size(), B));
  const auto term = options.on_probabilities ? on_probabilities : on_logits;
  const torch::Tensor slopes = at::empty({static_cast<int64_t>(B)});
  const torch::Tensor flat = logits.contiguous();
  const auto* x = flat.data_ptr<float>();
  auto* slope = slopes.data_ptr<float>();
  const auto rows = static_cast<double>(B);
  const double taught = distils ? count_taught(teacher_logits) : 0;
  Losses losses;
  for (size_t b = 0; b < B; ++b) {
    const Term click = term(x[b], labels[b]);
    losses.click += click.loss / rows;
    double sum = click.slope;
    if (distils && has_teacher(teacher_logits, b)) {
      const Term teacher =
          term(x[b], soft_target(teacher_logits, b, options.distillation_temperature));
      losses.distillation += teacher.loss / taught;
      sum += options.distillation_weight * teacher.slope * (rows / taught);
    }
    slope[b] = static_cast<float>(sum / rows);
  }
  if (reconstruction.defined()) losses.reconstruction = reconstruction.item<double>();
  losses.total = ObjectiveFunction::apply(
      logits, reconstruction.defined() ? reconstruction : at::empty({0}), slopes,
      losses.click + options.distillation_weight * losses.distillation,
      options.reconstruction_weight);
  return losses;
}

}  // namespace llmcf::models
