#include "llm/checkpoint.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::llm {

namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

struct DtypePair {
  Dtype file;
  torch::ScalarType torch;
};
constexpr DtypePair kFloats[] = {{Dtype::kF32, torch::kFloat},
                                 {Dtype::kF16, torch::kHalf},
                                 {Dtype::kBF16, torch::kBFloat16},
                                 {Dtype::kF64, torch::kDouble}};

std::string text_of(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::map<std::string, std::string> read_index(const std::filesystem::path& file) {
  try {
    return nlohmann::json::parse(read_file(file))
        .at("weight_map")
        .get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file.string(), 0, fmt::format("not an index of shards: {}", error.what()));
  }
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& directory) : directory_(directory) {
  const auto open = [&](const std::string& name) {
    if (std::filesystem::path(name).filename() != name)
      throw InputError((directory / kIndex).string(), 0,
                       fmt::format("shard '{}' is not a file beside it", name));
    shards_.push_back(std::make_unique<SafetensorsReader>(directory / name));
    return shards_.size() - 1;
  };
  if (std::filesystem::exists(directory / kSingle)) {
    open(kSingle);
    for (const auto& [name, view] : shards_[0]->tensors())
      shard_of_[name] = 0;
    return;
  }
  if (!std::filesystem::exists(directory / kIndex))
    throw InputError(directory.string(), 0,
                     fmt::format("holds neither {} nor {}", kSingle, kIndex));
  std::map<std::string, size_t> opened;
  for (const auto& [name, file] : read_index(directory / kIndex)) {
    if (!opened.contains(file)) opened[file] = open(file);
    const size_t shard = opened[file];
    if (!shards_[shard]->contains(name))
      throw InputError((directory / file).string(), 0,
                       fmt::format("lacks tensor '{}', which {} places there", name, kIndex));
    shard_of_[name] = shard;
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto& [name, shard] : shard_of_)
    result.push_back(name);
  return result;
}

void Checkpoint::read(const std::string& name, torch::Tensor& target) const {
  const auto found = shard_of_.find(name);
  if (found == shard_of_.end())
    throw InputError(directory_.string(), 0, fmt::format("tensor '{}' is missing", name));
  const SafetensorsReader& shard = *shards_[found->second];
  const TensorView& view = shard.tensor(name);
  const auto dtype = std::find_if(std::begin(kFloats), std::end(kFloats),
                                  [&](const DtypePair& pair) { return pair.file == view.dtype; });
  if (dtype == std::end(kFloats))
    throw InputError(
        shard.path().string(), 0,
        fmt::format("tensor '{}' is {}, expected F32, F16 or BF16", name, dtype_name(view.dtype)));
  if (target.sizes().vec() != view.shape)
    throw InputError(shard.path().string(), 0,
                     fmt::format("tensor '{}' is {}, expected {}", name, text_of(view.shape),
                                 text_of(target.sizes().vec())));
  const torch::NoGradGuard no_gradients;
  // Never written through.
  auto* data = const_cast<std::byte*>(view.data);
  target.copy_(at::from_blob(data, view.shape, torch::TensorOptions(dtype->torch)));
}

void write_checkpoint(const std::filesystem::path& directory,
                      const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                      int64_t shard_bytes) {
  std::filesystem::create_directories(directory);
  std::vector<std::vector<size_t>> shards(1);
  int64_t filled = 0, total = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = static_cast<int64_t>(tensors[i].second.nbytes());
    if (!shards.back().empty() && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(i);
    filled += bytes;
    total += bytes;
  }
  nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}},
                                  {"weight_map", nlohmann::ordered_json::object()}};
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    const std::string file = shards.size() == 1 ? kSingle
                                                : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                              shard + 1, shards.size());
    SafetensorsWriter writer;
    writer.set_metadata("format", "pt");
    std::vector<torch::Tensor> alive;
    for (const size_t i : shards[shard]) {
      const auto& [name, tensor] = tensors[i];
      alive.push_back(tensor.detach().to(torch::kCPU).contiguous());
      const auto dtype =
          std::find_if(std::begin(kFloats), std::end(kFloats),
                       [&](const DtypePair& pair) { return pair.torch == tensor.scalar_type(); });
      if (dtype == std::end(kFloats))
        throw Error(fmt::format("tensor '{}' is not of a float dtype", name));
      writer.add(name, dtype->file, tensor.sizes().vec(), alive.back().data_ptr());
      index["weight_map"][name] = file;
    }
    writer.write(directory / file);
  }
  if (shards.size() > 1) write_file(directory / kIndex, index.dump(2) + "\n");
}

}  // namespace llmcf::llm
