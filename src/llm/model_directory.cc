#include "llm/model_directory.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "llm/adapter.h"
#include "llm/checkpoint.h"
#include "llm/language_model.h"

namespace llmcf::llm {

namespace {

namespace fs = std::filesystem;

void copy_others(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const auto name = entry.path().filename().string();
    const bool weights = entry.path().extension() == ".safetensors" ||
                         name.ends_with(".index.json") || entry.path().extension() == ".bin";
    if (entry.is_regular_file() && !weights && name != "config.json" &&
        name != "adapter_config.json")
      fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing);
  }
}

std::string dtype_text(torch::Dtype dtype) {
  return dtype == torch::kBFloat16 ? "bfloat16" : dtype == torch::kHalf ? "float16" : "float32";
}

}  // namespace

void write_directory(const fs::path& directory, const std::function<void(const fs::path&)>& fill) {
  if (fs::exists(directory))
    throw Error(
        fmt::format("{} is there already; remove it or choose another place", directory.string()));
  const fs::path parent = fs::absolute(directory).parent_path();
  fs::create_directories(parent);
  const fs::path fresh = parent / ("." + directory.filename().string() + ".partial");
  fs::remove_all(fresh);
  fs::create_directories(fresh);
  fill(fresh);
  fs::rename(fresh, directory);
}

void interpolate(const fs::path& a, const fs::path& b, double alpha, const fs::path& out) {
  if (!(alpha >= 0 && alpha <= 1))
    throw Error(fmt::format("alpha is {}, expected 0 (the first model) to 1 (the second)", alpha));
  const ModelConfig config = ModelConfig::load(a);
  const Checkpoint first(a), second(b);
  if (first.names() != second.names())
    throw InputError(b.string(), 0, fmt::format("holds other tensors than {}", a.string()));
  const LanguageModel shapes(config, torch::kFloat, torch::kCPU);
  const torch::NoGradGuard no_gradients;
  const auto tensors = shapes.parameters();
  for (const auto& [name, tensor] : tensors) {
    torch::Tensor from = tensor, to = at::empty_like(tensor);
    first.read(name, from);
    second.read(name, to);
    from.add_(to - from, alpha);
  }
  save_model(shapes, b, out);
}

void save_model(const LanguageModel& model, const fs::path& like, const fs::path& directory) {
  write_directory(directory, [&](const fs::path& fresh) {
    nlohmann::json config = model.config().source;
    config["torch_dtype"] = dtype_text(model.dtype());
    if (!like.empty()) copy_others(like, fresh);
    write_file(fresh / "config.json", config.dump(2) + "\n");
    write_checkpoint(fresh, model.parameters());
  });
}

void merge(const fs::path& model, const fs::path& adapter, const fs::path& out) {
  const auto joined = LanguageModel::load(model, torch::kFloat, torch::kCPU);
  load_adapter(*joined, adapter);
  merge_adapter(*joined);
  save_model(*joined, model, out);
}

}  // namespace llmcf::llm
