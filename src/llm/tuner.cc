#include "llm/tuner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros_like.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "llm/checkpoint.h"

namespace llmcf::llm {

namespace {

constexpr const char* kKey = "tune.key";
constexpr const char* kStep = "tune.step";

// One trained tensor and what AdamW keeps of it.
struct Trained {
  std::string name;
  torch::Tensor parameter;  // of the model
  torch::Tensor master;     // fp32; the parameter itself where that is fp32
  torch::Tensor mean, square;
  torch::Tensor start;  // only with an anchor
  bool decays = true;
};

torch::Tensor rows_of(const std::vector<int64_t>& values, const std::vector<int64_t>& rows,
                      int64_t length, torch::Device device) {
  std::vector<int64_t> picked;
  picked.reserve(rows.size() * static_cast<size_t>(length));
  for (const int64_t row : rows)
    picked.insert(picked.end(), values.begin() + row * length, values.begin() + (row + 1) * length);
  return at::from_blob(picked.data(), {static_cast<int64_t>(rows.size()), length}, torch::kLong)
      .clone()
      .to(device);
}

struct Batch {
  TokenBatch tokens;
  torch::Tensor targets;
};

Batch batch_of(const PackedRows& packed, const std::vector<int64_t>& rows, torch::Device device) {
  const auto take = [&](const std::vector<int64_t>& values) {
    return rows_of(values, rows, packed.length, device);
  };
  return {{take(packed.ids), take(packed.positions), take(packed.segments)}, take(packed.targets)};
}

int64_t targets_of(const PackedRows& packed, const std::vector<int64_t>& rows) {
  int64_t count = 0;
  for (const int64_t row : rows)
    count += std::count_if(packed.targets.begin() + row * packed.length,
                           packed.targets.begin() + (row + 1) * packed.length,
                           [](int64_t target) { return target >= 0; });
  return count;
}

class Run {
 public:
  Run(LanguageModel& model, const PackedRows& rows, const TuneOptions& options)
      : model_(model), rows_(rows), options_(options) {
    per_epoch_ = (rows.rows() + options.rows_per_step - 1) / options.rows_per_step;
    steps_ = per_epoch_ * options.epochs;
    const bool adapters = options.lora.rank > 0;
    if (adapters) attach_adapter(model, options.lora, options.seed);
    for (auto& [name, tensor] : model.parameters())
      tensor.set_requires_grad(!adapters);
    const auto trained = adapters ? adapter_parameters(model) : model.parameters();
    for (const auto& [name, tensor] : trained) {
      tensor.set_requires_grad(true);
      const torch::NoGradGuard no_gradients;
      const bool wide = tensor.scalar_type() == torch::kFloat;
      Trained one{.name = name,
                  .parameter = tensor,
                  .master = wide ? tensor.detach() : tensor.detach().to(torch::kFloat),
                  .mean = {},
                  .square = {},
                  .start = {},
                  .decays = tensor.dim() > 1};
      one.mean = at::zeros_like(one.master);
      one.square = at::zeros_like(one.master);
      if (options.anchor != Anchor::kNone) one.start = tensor.detach().clone();
      trained_.push_back(std::move(one));
    }
  }

  int64_t steps() const { return steps_; }
  std::vector<double>& losses() { return losses_; }

  TuneStep step(int64_t number) {
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<int64_t> chosen = rows_at(number);
    const int64_t all = targets_of(rows_, chosen);
    const uint64_t dropout = Random(options_.seed, fmt::format("dropout {}", number)).next();
    at::Generator generator = at::globalContext().defaultGenerator(model_.device());
    generator.set_current_seed(dropout);
    double loss = 0;
    for (size_t first = 0; first < chosen.size();
         first += static_cast<size_t>(options_.rows_at_once)) {
      const auto last = std::min(chosen.size(), first + static_cast<size_t>(options_.rows_at_once));
      const std::vector<int64_t> part(chosen.begin() + static_cast<int64_t>(first),
                                      chosen.begin() + static_cast<int64_t>(last));
      const Batch batch = batch_of(rows_, part, model_.device());
      const LanguageModel::Loss found = model_.loss(batch.tokens, batch.targets);
      const double share = static_cast<double>(found.targets) / static_cast<double>(all);
      (found.mean * share).backward();
      loss += found.mean.item<double>() * share;
    }
    if (!std::isfinite(loss))
      throw Error(
          fmt::format("step {}: the loss is {}; a lower learning rate may help", number, loss));
    const double rate = rate_at(options_, number, steps_);
    const double norm = update(number, rate);
    losses_.push_back(loss);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    return {.step = number,
            .steps = steps_,
            .loss = loss,
            .learning_rate = rate,
            .gradient_norm = norm,
            .tokens_per_second =
                static_cast<double>(static_cast<int64_t>(chosen.size()) * rows_.length) /
                taken.count()};
  }

  void save(const std::filesystem::path& file, const std::string& key, int64_t number) const {
    SafetensorsWriter writer;
    writer.set_metadata(kKey, key);
    writer.set_metadata(kStep, std::to_string(number));
    std::vector<torch::Tensor> alive;
    const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
      alive.push_back(tensor.cpu().contiguous());
      writer.add<float>(name, tensor.sizes().vec(),
                        {alive.back().data_ptr<float>(), static_cast<size_t>(tensor.numel())});
    };
    for (const Trained& one : trained_) {
      add(one.name + ".master", one.master);
      add(one.name + ".mean", one.mean);
      add(one.name + ".square", one.square);
    }
    writer.add("losses", losses_);
    writer.write(file);
  }

  // The step that the file was written after.
  int64_t load(const std::filesystem::path& file, const std::string& key) {
    const SafetensorsReader reader(file);
    if (reader.metadata(kKey) != key)
      throw InputError(file.string(), 0,
                       "belongs to a run with other data, options or weights; remove it to start "
                       "anew");
    const torch::NoGradGuard no_gradients;
    const auto fill = [&](const std::string& name, torch::Tensor& tensor) {
      const auto values = reader.get<float>(name, tensor.sizes().vec());
      tensor.copy_(at::from_blob(const_cast<float*>(values.data()), tensor.sizes(), torch::kFloat));
    };
    for (Trained& one : trained_) {
      fill(one.name + ".master", one.master);
      fill(one.name + ".mean", one.mean);
      fill(one.name + ".square", one.square);
      one.parameter.detach().copy_(one.master);
    }
    const auto losses = reader.get<double>("losses");
    losses_.assign(losses.begin(), losses.end());
    return std::stoll(reader.metadata(kStep));
  }

 private:
  std::vector<int64_t> rows_at(int64_t number) const {
    const int64_t epoch = (number - 1) / per_epoch_, place = (number - 1) % per_epoch_;
    std::vector<int64_t> order(static_cast<size_t>(rows_.rows()));
    std::iota(order.begin(), order.end(), 0);
    Random(options_.seed, fmt::format("rows {}", epoch)).shuffle(order);
    const int64_t first = place * options_.rows_per_step;
    const int64_t last = std::min(rows_.rows(), first + options_.rows_per_step);
    return {order.begin() + first, order.begin() + last};
  }

  // AdamW (Loshchilov and Hutter, ICLR 2019) on the masters; clears the gradients.
  double update(int64_t number, double rate) {
    const torch::NoGradGuard no_gradients;
    std::vector<torch::Tensor> gradients;
    double squares = 0;
    for (Trained& one : trained_) {
      torch::Tensor& from = one.parameter.mutable_grad();
      torch::Tensor gradient = from.defined() ? from.to(torch::kFloat) : at::zeros_like(one.master);
      from = torch::Tensor();
      if (one.start.defined()) {
        const torch::Tensor away = one.master - one.start;
        gradient = gradient +
                   options_.anchor_strength * (options_.anchor == Anchor::kL1 ? away.sign() : away);
      }
      squares += gradient.square().sum().item<double>();
      gradients.push_back(std::move(gradient));
    }
    const double norm = std::sqrt(squares);
    const double scale =
        options_.clip > 0 && norm > options_.clip ? options_.clip / (norm + 1e-6) : 1;
    const auto n = static_cast<double>(number);
    const double correct1 = 1 - std::pow(options_.beta1, n);
    const double correct2 = 1 - std::pow(options_.beta2, n);
    for (size_t i = 0; i < trained_.size(); ++i) {
      Trained& one = trained_[i];
      const torch::Tensor gradient = gradients[i] * scale;
      one.mean.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
      one.square.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
      if (one.decays) one.master.mul_(1 - rate * options_.weight_decay);
      one.master.addcdiv_(one.mean, (one.square / correct2).sqrt_().add_(options_.epsilon),
                          -rate / correct1);
      if (one.master.scalar_type() != one.parameter.scalar_type())
        one.parameter.detach().copy_(one.master);
    }
    return norm;
  }

  LanguageModel& model_;
  const PackedRows& rows_;
  const TuneOptions& options_;
  int64_t per_epoch_ = 0, steps_ = 0;
  std::vector<Trained> trained_;
  std::vector<double> losses_;
};

// For its life, the model trains as the options say.
class TrainingMode {
 public:
  TrainingMode(LanguageModel& model, bool recompute) : model_(model) {
    model_.training = true;
    model_.checkpoints_layers = recompute;
  }
  ~TrainingMode() { model_.training = model_.checkpoints_layers = false; }
  TrainingMode(const TrainingMode&) = delete;
  TrainingMode& operator=(const TrainingMode&) = delete;

 private:
  LanguageModel& model_;
};

}  // namespace

void TuneOptions::check() const {
  const auto at_least = [](const char* name, double value, double low) {
    if (!(value >= low))
      throw Error(fmt::format("{} is {}, expected at least {}", name, value, low));
  };
  at_least("epochs", static_cast<double>(epochs), 1);
  at_least("rows_per_step", static_cast<double>(rows_per_step), 1);
  at_least("rows_at_once", static_cast<double>(rows_at_once), 1);
  at_least("learning_rate", learning_rate, 0);
  at_least("warm_up", warm_up, 0);
  at_least("last_rate", last_rate, 0);
  at_least("weight_decay", weight_decay, 0);
  at_least("clip", clip, 0);
  at_least("anchor_strength", anchor_strength, 0);
  at_least("save_every", static_cast<double>(save_every), 0);
  if (!(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1))
    throw Error(fmt::format("betas are {} and {}, expected 0 to less than 1", beta1, beta2));
  lora.check();
  if (lora.rank > 0 && anchor != Anchor::kNone)
    throw Error("an anchor holds the model's weights; with lora these do not move");
  if (lora.rank > 0 && lora.dropout > 0 && recompute)
    throw Error("lora dropout and recompute do not go together: a second pass would drop others");
}

double rate_at(const TuneOptions& options, int64_t step, int64_t steps) {
  const auto warm = static_cast<int64_t>(std::ceil(options.warm_up * static_cast<double>(steps)));
  if (step <= warm)
    return options.learning_rate * static_cast<double>(step) / static_cast<double>(warm);
  const double done =
      static_cast<double>(step - warm) / static_cast<double>(std::max<int64_t>(1, steps - warm));
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * done));
  return options.learning_rate * (options.last_rate + (1 - options.last_rate) * cosine);
}

MemoryEstimate estimate_memory(const ModelConfig& config, torch::Dtype dtype,
                               const TuneOptions& options, int64_t row_length) {
  const int64_t bytes = dtype == torch::kFloat ? 4 : 2;
  const int64_t all = config.parameters();
  const bool adapters = options.lora.rank > 0;
  int64_t trained = all;
  if (adapters) {
    trained = 0;
    for (const std::string& target : options.lora.targets) {
      const int64_t q = config.heads * config.head_width, kv = config.kv_heads * config.head_width;
      const bool mlp = target == "gate_proj" || target == "up_proj" || target == "down_proj";
      const int64_t width = mlp                                        ? config.intermediate
                            : target == "k_proj" || target == "v_proj" ? kv
                                                                       : q;
      trained += config.layers * options.lora.rank * (config.hidden + width);
    }
  }
  const int64_t own = adapters ? 4 : bytes;  // bytes of a trained parameter
  const int64_t tokens = std::min(options.rows_at_once, options.rows_per_step) * row_length;
  // What a layer keeps for its gradients: norms, rotary halves and scores in fp32, the rest as is.
  const int64_t layer = tokens * ((6 * config.hidden + 3 * config.intermediate) * bytes +
                                  8 * config.hidden * 4 + 2 * config.heads * row_length * 4);
  const int64_t kept = options.recompute ? layer + config.layers * tokens * config.hidden * bytes
                                         : layer * config.layers;
  const int64_t logits = 3 * 4 * config.vocabulary * std::min<int64_t>(1024, tokens);
  return {.weights = all * bytes,
          .gradients = trained * own,
          .optimizer = trained * (8 + (own == 4 ? 0 : 4)),
          .anchor = options.anchor == Anchor::kNone ? 0 : all * bytes,
          .activations = kept + logits};
}

std::string MemoryEstimate::text() const {
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  return fmt::format(
      "{:.2f} GiB: weights {:.2f}, gradients {:.2f}, optimizer {:.2f}, anchor {:.2f}, "
      "activations about {:.2f}",
      gib(total()), gib(weights), gib(gradients), gib(optimizer), gib(anchor), gib(activations));
}

std::vector<double> tune(LanguageModel& model, const PackedRows& rows, const TuneOptions& options,
                         const std::filesystem::path& state, const std::string& key,
                         const std::function<void(const TuneStep&)>& on_step) {
  options.check();
  if (rows.rows() == 0) throw Error("there is nothing to tune on: no row has a target");
  Run run(model, rows, options);
  const TrainingMode mode(model, options.recompute);
  int64_t done = 0;
  if (!state.empty() && std::filesystem::exists(state)) done = run.load(state, key);
  for (int64_t number = done + 1; number <= run.steps(); ++number) {
    const TuneStep step = run.step(number);
    const bool due = options.save_every > 0 && number % options.save_every == 0;
    if (!state.empty() && (due || number == run.steps())) run.save(state, key, number);
    if (on_step) on_step(step);
  }
  return run.losses();
}

double evaluate_loss(LanguageModel& model, const PackedRows& rows, int64_t rows_at_once) {
  const torch::NoGradGuard no_gradients;
  double sum = 0;
  int64_t count = 0;
  for (int64_t first = 0; first < rows.rows(); first += rows_at_once) {
    std::vector<int64_t> part(static_cast<size_t>(std::min(rows_at_once, rows.rows() - first)));
    std::iota(part.begin(), part.end(), first);
    const Batch batch = batch_of(rows, part, model.device());
    const LanguageModel::Loss loss = model.loss(batch.tokens, batch.targets);
    sum += loss.mean.item<double>() * static_cast<double>(loss.targets);
    count += loss.targets;
  }
  if (count == 0) throw Error("there is nothing to evaluate: no row has a target");
  return sum / static_cast<double>(count);
}

}  // namespace llmcf::llm
