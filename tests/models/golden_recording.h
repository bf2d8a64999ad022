// A recorded case of the public code (golden/README.md): its tensors, and what all tasks' cases
// have in common. Dimensions come from the files, never from here.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/from_blob.h>
#include <torch/types.h>

#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "models/golden_batch.h"
#include "models/options.h"
#include "models/trainable.h"
#include "nn/optimizer_options.h"

namespace llmcf::models::testing {

// A recorded tensor and the part of ours that it must equal.
struct RecordedView {
  std::string name;  // without "param.", "grad.", "final."
  torch::Tensor view;
};

// Patterns of our names and what the recording calls them.
using NameRules = std::vector<std::pair<std::regex, std::string>>;

class GoldenRecording {
 public:
  explicit GoldenRecording(const std::filesystem::path& json_path)
      : reader_(std::filesystem::path(json_path).replace_extension(".safetensors")) {
    json_ = nlohmann::json::parse(std::ifstream(json_path));
    config_ = json_.at("config");
    item_text_ = values_of<float>(reader_, "in.item_text");
    cot_ = values_of<float>(reader_, "in.cot");
    for (const auto& [name, view] : reader_.tensors())
      if (name.starts_with("param.context_transformer.layers.")) ++layer_tensors_;
  }

  std::string model() const { return json_.at("model"); }
  std::string variant() const { return json_.at("variant"); }
  int64_t steps() const { return json_.at("steps"); }
  const SafetensorsReader& reader() const { return reader_; }
  bool has(const std::string& key) const { return reader_.contains(key); }

  // A copy as a float tensor.
  torch::Tensor tensor(const std::string& key) const {
    const TensorView& view = reader_.tensor(key);
    std::vector<float> floats;
    if (view.dtype == Dtype::kF64) {
      const auto doubles = values_of<double>(reader_, key);
      floats.assign(doubles.begin(), doubles.end());
    } else if (view.dtype == Dtype::kI64) {
      const auto integers = values_of<int64_t>(reader_, key);
      floats.assign(integers.begin(), integers.end());
    } else {
      floats = values_of<float>(reader_, key);
    }
    return at::from_blob(floats.data(), view.shape).clone();
  }

  nn::OptimizerOptions optimizer() const {
    const nlohmann::json& adam = json_.at("adam");
    return {.kind = "adam",
            .learning_rate = adam.at("lr"),
            .weight_decay = adam.at("weight_decay_l2"),
            .beta1 = adam.at("betas")[0],
            .beta2 = adam.at("betas")[1],
            .epsilon = adam.at("eps")};
  }

  FrozenTables frozen() const {
    if (!variant().starts_with("aug")) return {};
    return {.item_text = item_text_, .cot = cot_};
  }

  bool has_batch_norm() const { return has("buffer.mlp_layers.mlp_layers.2.running_mean"); }

 protected:
  std::vector<int64_t> shape(const std::string& key) const { return reader_.tensor(key).shape; }

  static std::vector<int64_t> tail(const std::vector<int64_t>& values) {
    return {values.begin() + 1, values.end()};
  }

  void read_context(ModelOptions& options) const {
    options.text_map = tail(config_.at("cot_mapping_mlp_hidden_size"));
    options.token_map = tail(config_.at("ICL_history_mlp"));
    options.ict_heads = config_.at("decoder_nhead");
    options.ict_layers = layer_tensors_ / 9;
    options.reconstruction_map.clear();
    const std::string map = "param.cot_emb_reconstruct_mapping.mlp_layers.";
    for (int64_t i = 1; has(map + std::to_string(i + 3) + ".weight"); i += 3)
      options.reconstruction_map.push_back(shape(map + std::to_string(i) + ".weight")[0]);
  }

  // The recording's name by the task's rules or by those of what tasks share; "" if none fits.
  std::string renamed(const std::string& ours, const NameRules& rules) const {
    static const NameRules kShared = {
        {std::regex("tables\\.(.*)"), "emb_tab_dict.$1_emb_tab.weight"},
        {std::regex("context\\.text_map\\.(.*)"), "bge_emb_mapping.mlp_layers.$1"},
        {std::regex("context\\.ict\\.token_map\\.(.*)"), "history_mlp.mlp_layers.$1"},
        {std::regex("context\\.ict\\.reconstruction\\.(.*)"),
         "cot_emb_reconstruct_mapping.mlp_layers.$1"},
        {std::regex("context\\.ict\\.label"), "emb_tab_dict.label_id_emb_tab.weight"},
        {std::regex("context\\.ict\\.norm\\.(.*)"), "context_transformer.norm.$1"},
        {std::regex("context\\.ict\\.layer(\\d+)\\.attention_norm\\.(.*)"),
         "context_transformer.layers.$1.attention_norm.$2"},
        {std::regex("context\\.ict\\.layer(\\d+)\\.feed_forward_norm\\.(.*)"),
         "context_transformer.layers.$1.ffn_norm.$2"},
        {std::regex("context\\.ict\\.layer(\\d+)\\.(w[qkvo])\\.(.*)"),
         "context_transformer.layers.$1.attention.$2.$3"},
        {std::regex("context\\.ict\\.layer(\\d+)\\.(w[123])\\.(.*)"),
         "context_transformer.layers.$1.feed_forward.$2.$3"}};
    for (const NameRules* list : {&rules, &kShared})
      for (const auto& [pattern, replacement] : *list)
        if (std::regex_match(ours, pattern))
          return with_entry_number(std::regex_replace(ours, pattern, replacement));
    return "";
  }

  // Layer i of a perceptron is entry 3i + 1 there (dropout, linear, activation), 4i + 1 and its
  // norm 4i + 2 with batch norm; of an expert and of DIN's tower 3i (linear, activation, dropout).
  std::string with_entry_number(std::string name) const {
    std::smatch found;
    if (!std::regex_search(name, found, std::regex("(linear|norm)(\\d+)"))) return name;
    const bool plain = name.find("fc.") != std::string::npos;
    const int stride = has_batch_norm() && name.starts_with("mlp_layers") ? 4 : 3;
    const int first = plain ? 0 : (found[1] == "norm" ? 2 : 1);
    name.replace(static_cast<size_t>(found.position()), static_cast<size_t>(found.length()),
                 std::to_string(stride * std::stoi(found[2]) + first));
    return name;
  }

  SafetensorsReader reader_;
  nlohmann::json json_, config_;
  int64_t layer_tensors_ = 0;
  std::vector<float> item_text_, cot_;
};

}  // namespace llmcf::models::testing
