// A small experiment file for the tests of room experiment; nothing in it is trained.
#pragma once

#include <string>

#include "core/files.h"
#include "pipeline/experiment/plan.h"

namespace llmcf::pipeline::experiment::testing {

class Bench {
 public:
  // `more` is appended to the file.
  explicit Bench(const std::string& more = "") {
    write_file(file(), R"(
name: bench
workspace: work
results: results.jsonl
presets: presets.yaml
seeds: [1, 2, 3]
run:
  data: {format: table, path: shop, schema: shop/schema.yaml}
  train: {epochs: 2, learning_rate: 0.01}
backbones: [deepfm]
variants:
  - {name: none, model: {context: none}}
  - {name: text, model: {context: text}}
  - {name: llmcf, model: {context: ict}}
)" + more);
  }

  std::filesystem::path file() const { return directory_.path() / "bench.yaml"; }
  std::filesystem::path path(const std::string& name) const { return directory_.path() / name; }
  Experiment load(const std::vector<std::string>& overrides = {}) const {
    return Experiment::load(file(), overrides);
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace llmcf::pipeline::experiment::testing
