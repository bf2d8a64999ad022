#include "llm/adapter.h"

#include <algorithm>
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "llm/checkpoint.h"
#include "llm/model_directory.h"

namespace llmcf::llm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kPeftPrefix = "base_model.model.";
constexpr const char* kAdapterConfig = "adapter_config.json";
constexpr const char* kAdapterWeights = "adapter_model.safetensors";

const std::vector<std::string>& known_targets() {
  static const std::vector<std::string> names = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                 "gate_proj", "up_proj", "down_proj"};
  return names;
}

void add_adapters(LanguageModel& model, double sign) {
  const torch::NoGradGuard no_gradients;
  for (auto& [name, linear] : model.linears())
    if (linear->lora_a.defined()) {
      const torch::Tensor change = at::matmul(linear->lora_b, linear->lora_a);
      const double scale = sign * std::abs(linear->lora_scale);
      linear->weight.copy_(linear->weight.to(torch::kFloat) + scale * change);
    }
}

// Whether adapters are there and work; a merged one keeps its scale as a negative number.
bool merged(LanguageModel& model) {
  for (auto& [name, linear] : model.linears())
    if (linear->lora_a.defined()) return linear->lora_scale < 0;
  throw Error("the model has no adapter");
}

void flip(LanguageModel& model) {
  for (auto& [name, linear] : model.linears())
    linear->lora_scale = -linear->lora_scale;
}

}  // namespace

void LoraOptions::check() const {
  if (rank < 0 || rank > 4096)
    throw Error(fmt::format("lora rank is {}, expected 1 to 4096", rank));
  if (!(alpha > 0)) throw Error(fmt::format("lora alpha is {}, expected more than 0", alpha));
  if (!(dropout >= 0 && dropout < 1))
    throw Error(fmt::format("lora dropout is {}, expected 0 to less than 1", dropout));
  if (targets.empty()) throw Error("lora has no target");
  for (const std::string& target : targets)
    if (std::find(known_targets().begin(), known_targets().end(), target) == known_targets().end())
      throw Error(unknown_name("lora target", target, known_targets()));
}

void attach_adapter(LanguageModel& model, const LoraOptions& options, uint64_t seed) {
  options.check();
  if (options.rank == 0) throw Error("lora rank is 0: there is nothing to attach");
  const auto kind = torch::TensorOptions(torch::kFloat).device(model.device());
  for (auto& [name, linear] : model.linears()) {
    const auto last = name.substr(name.rfind('.') + 1);
    if (std::find(options.targets.begin(), options.targets.end(), last) == options.targets.end())
      continue;
    const int64_t in = linear->weight.size(1), out = linear->weight.size(0);
    Random random(seed, "lora " + name);
    std::vector<float> values(static_cast<size_t>(options.rank * in));
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    for (float& value : values)
      value = static_cast<float>(random.uniform(-bound, bound));
    linear->lora_a = at::empty({options.rank, in}, kind);
    linear->lora_a.copy_(at::from_blob(values.data(), {options.rank, in}, torch::kFloat));
    linear->lora_b = at::zeros({out, options.rank}, kind);
    linear->lora_scale = options.alpha / static_cast<double>(options.rank);
    linear->lora_dropout = options.dropout;
  }
}

std::vector<std::pair<std::string, torch::Tensor>> adapter_parameters(LanguageModel& model) {
  std::vector<std::pair<std::string, torch::Tensor>> result;
  for (auto& [name, linear] : model.linears()) {
    if (!linear->lora_a.defined()) continue;
    result.emplace_back(name + ".lora_A.weight", linear->lora_a);
    result.emplace_back(name + ".lora_B.weight", linear->lora_b);
  }
  return result;
}

void merge_adapter(LanguageModel& model) {
  if (merged(model)) throw Error("the adapter is merged already");
  add_adapters(model, 1);
  flip(model);
}

void unmerge_adapter(LanguageModel& model) {
  if (!merged(model)) throw Error("the adapter is not merged");
  add_adapters(model, -1);
  flip(model);
}

void save_adapter(LanguageModel& model, const LoraOptions& options, const std::string& base,
                  const fs::path& directory) {
  write_directory(directory, [&](const fs::path& fresh) {
    const nlohmann::ordered_json config = {{"base_model_name_or_path", base},
                                           {"bias", "none"},
                                           {"fan_in_fan_out", false},
                                           {"inference_mode", true},
                                           {"lora_alpha", options.alpha},
                                           {"lora_dropout", options.dropout},
                                           {"peft_type", "LORA"},
                                           {"r", options.rank},
                                           {"target_modules", options.targets},
                                           {"task_type", "CAUSAL_LM"}};
    write_file(fresh / kAdapterConfig, config.dump(2) + "\n");
    auto tensors = adapter_parameters(model);
    for (auto& [name, tensor] : tensors)
      name = kPeftPrefix + name;
    write_checkpoint(fresh, tensors);
    fs::rename(fresh / "model.safetensors", fresh / kAdapterWeights);
  });
}

LoraOptions load_adapter(LanguageModel& model, const fs::path& directory) {
  const fs::path file = directory / kAdapterConfig;
  LoraOptions options;
  try {
    const auto json = nlohmann::json::parse(read_file(file));
    if (json.value("peft_type", std::string()) != "LORA")
      throw InputError(file.string(), 0, "peft_type is not LORA");
    options = {.rank = json.at("r").get<int64_t>(),
               .alpha = json.at("lora_alpha").get<double>(),
               .dropout = json.value("lora_dropout", 0.0),
               .targets = json.at("target_modules").get<std::vector<std::string>>()};
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file.string(), 0, fmt::format("not an adapter's: {}", error.what()));
  }
  attach_adapter(model, options, 0);
  const SafetensorsReader reader(directory / kAdapterWeights);
  const torch::NoGradGuard no_gradients;
  for (auto& [name, tensor] : adapter_parameters(model)) {
    const auto values = reader.get<float>(kPeftPrefix + name, tensor.sizes().vec());
    tensor.copy_(at::from_blob(const_cast<float*>(values.data()), tensor.sizes(), torch::kFloat));
  }
  return options;
}

}  // namespace llmcf::llm
