// The weights of a Hugging Face model directory: one safetensors file, or shards with an index.
//
// Invariants:
//  1. Files are mapped; read() copies one tensor, so that loading never holds a second copy of the
//     model beside what it fills.
//  2. Every error names the file, and the tensor where one is meant.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "core/safetensors.h"

namespace llmcf::llm {

class Checkpoint {
 public:
  // `directory` holds model.safetensors, or model.safetensors.index.json and the shards it names.
  explicit Checkpoint(const std::filesystem::path& directory);

  bool contains(const std::string& name) const { return shard_of_.contains(name); }
  std::vector<std::string> names() const;  // sorted
  // Copies the tensor into `target`, which has the expected shape and the dtype and device to
  // convert to. Throws InputError if it is missing, of another shape, or not of a float dtype.
  void read(const std::string& name, torch::Tensor& target) const;

 private:
  std::filesystem::path directory_;
  std::vector<std::unique_ptr<SafetensorsReader>> shards_;
  std::map<std::string, size_t> shard_of_;
};

// Writes tensors (on any device, contiguous or not) as safetensors files of at most `shard_bytes`
// each, with an index if there are several: the layout that other engines read.
void write_checkpoint(const std::filesystem::path& directory,
                      const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                      int64_t shard_bytes = int64_t{5} << 30);

}  // namespace llmcf::llm
