// A recorded case of the public code (golden/README.md) as this project's inputs: specification,
// options, batch and the names of its tensors. Dimensions come from the files, never from here.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include <ATen/ops/from_blob.h>
#include <torch/types.h>

#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "models/batch.h"
#include "models/golden_batch.h"
#include "models/options.h"
#include "models/trainable_ctr.h"
#include "nn/optimizer_options.h"

namespace llmcf::models::testing {

// Backbones by the public code's names.
inline const std::map<std::string, std::string>& backbone_of() {
  static const std::map<std::string, std::string> names = {
      {"DeepFM", "deepfm"}, {"xDeepFM", "xdeepfm"}, {"AutoInt", "autoint"},
      {"DCN", "dcn"},       {"DCNv2", "dcnv2"},     {"DIN", "din"}};
  return names;
}

// A recorded tensor and the part of ours that it must equal.
struct RecordedView {
  std::string name;  // without "param.", "grad.", "final."
  torch::Tensor view;
};

class GoldenCase {
 public:
  explicit GoldenCase(const std::filesystem::path& json_path)
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
  bool reads_history() const { return model() == "DIN"; }
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

  FeatureSpec spec() const {
    const bool text = variant().starts_with("aug");
    return {.tables = {table("user_id"), table("item_id"), table("item_brand_id"),
                       table("item_cate_id")},
            .fields = {{"user_id", 0, FieldRole::kUser, true},
                       {"item_id", 1, FieldRole::kItem, true},
                       {"item_brand_id", 2, FieldRole::kItem, true},
                       {"item_cate_id", 3, FieldRole::kItem, false},
                       {"hist_item_id", 1, FieldRole::kHistory, false},
                       {"hist_brand_id", 2, FieldRole::kHistory, false},
                       {"hist_cate_id", 3, FieldRole::kHistory, false}},
            .sequence_fields = reads_history() ? std::vector<int>{1, 2, 3} : std::vector<int>{},
            .text_dim = text ? shape("in.item_text")[1] : 0,
            .kar_dim = variant() == "kar" ? shape("in.kar_user")[1] : 0};
  }

  ModelOptions options() const {
    ModelOptions options = ModelOptions::from(Config::parse(""), "paper");
    options.backbone = backbone_of().at(model());
    options.backbone_options = backbone_options();
    options.embed_dim = config_.at("item_id_dim");
    options.mlp = config_.at("mlp_hidden_size").get<std::vector<int64_t>>();
    if (config_.contains("hid_units")) {  // DIN's tower, its last layer included
      options.mlp = config_.at("hid_units").get<std::vector<int64_t>>();
      options.mlp.pop_back();
    }
    options.dropout = json_.at("dropout");
    if (has("const.linear_bias"))
      options.fixed_linear_bias = values_of<float>(reader_, "const.linear_bias")[0];
    options.reconstruction_weight = config_.value("reconstruct_weight", 0.0);
    options.distillation_weight = config_.value("distill_weight", 0.0);
    options.distillation_temperature = config_.value("teacher_temp", 1.0);
    const std::map<std::string, ContextKind> contexts = {
        {"plain", ContextKind::kNone},    {"kd", ContextKind::kNone},
        {"aug", ContextKind::kIct},       {"aug_kd", ContextKind::kIct},
        {"aug_mean", ContextKind::kMean}, {"aug_wocot", ContextKind::kIctWithoutCot},
        {"kar", ContextKind::kKar}};
    options.context = contexts.at(variant());
    if (variant().starts_with("aug")) read_context(options);
    if (variant() == "kar") read_kar(options);
    return options;
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

  Batch batch() const;

  // What the recording calls one of our tensors, or its parts where it keeps them apart; empty for
  // what it does not have. Views: writing into them writes into `tensor`. Same elements in the same
  // order as the recorded tensors, whose shapes may have further dimensions of 1.
  std::vector<RecordedView> recorded(const std::string& ours, const torch::Tensor& tensor) const;

  bool has_batch_norm() const { return has("buffer.mlp_layers.mlp_layers.2.running_mean"); }

 private:
  std::string recorded_name(const std::string& ours) const;
  std::string with_entry_number(std::string name) const;
  int64_t cin_fields() const;
  Config backbone_options() const;
  static std::string attention_weight(int entry) {
    return "param.attn.local_att.fc1.fc." + std::to_string(entry) + ".weight";
  }

  std::vector<int64_t> shape(const std::string& key) const { return reader_.tensor(key).shape; }

  TableSpec table(const std::string& name) const {
    return {name, shape("param.emb_tab_dict." + name + "_emb_tab.weight")[0]};
  }

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

  void read_kar(ModelOptions& options) const {
    options.kar_shared_experts = config_.at("export_num");
    options.kar_specific_experts = config_.at("specific_export_num");
    options.kar_map = config_.at("convert_arch").get<std::vector<int64_t>>();
    options.kar_dropout = config_.at("dropout");
  }

  SafetensorsReader reader_;
  nlohmann::json json_, config_;
  int64_t layer_tensors_ = 0;
  std::vector<float> item_text_, cot_;
};

inline Batch GoldenCase::batch() const {
  const bool augmented = variant().starts_with("aug");
  Batch batch = GoldenBatchBuilder(reader_).build(augmented, augmented, reads_history());
  const auto copy = [&](const std::string& key, std::vector<float>& out) {
    const auto values = values_of<float>(reader_, key);
    out.assign(values.begin(), values.end());
  };
  if (variant().ends_with("kd")) copy("in.teacher_logits", batch.teacher_logits);
  if (variant() == "kar") {
    copy("in.kar_user", batch.kar_user);
    copy("in.kar_item", batch.kar_item);
  }
  return batch;
}

inline std::string GoldenCase::recorded_name(const std::string& ours) const {
  const std::string tower = model() == "DIN" ? "fc_layer.fc" : "mlp_layers.mlp_layers";
  const bool adds_head = model() == "DeepFM" || model() == "AutoInt";
  const std::vector<std::pair<std::regex, std::string>> rules = {
      {std::regex("tables\\.(.*)"), "emb_tab_dict.$1_emb_tab.weight"},
      {std::regex("first_order\\.(.*)"), "lr.emb_tab_dict.$1_emb_tab.weight"},
      {std::regex("backbone\\.tower\\.(.*)"), tower + ".$1"},
      {std::regex("backbone\\.head\\.(.*)"),
       adds_head ? "deep_predict_layer.$1" : "predict_layer.$1"},
      {std::regex("backbone\\.context_linear\\.(.*)"), "lr_dense_vec_weight.$1"},
      {std::regex("backbone\\.context_(weight|bias)"), "aug_feat_linear.0.$1"},
      {std::regex("backbone\\.cin(\\d+)\\.(.*)"), "conv1d_list.$1.$2"},
      {std::regex("backbone\\.cin_head\\.(.*)"), "cin_linear.$1"},
      {std::regex("backbone\\.embed\\.(.*)"), "att_embedding.$1"},
      {std::regex("backbone\\.residual\\.(.*)"), "v_res_embedding.$1"},
      {std::regex("backbone\\.attention_head\\.(.*)"), "attn_fc.$1"},
      {std::regex("backbone\\.attention(\\d+)\\.in_(.*)"), "self_attns.$1.in_proj_$2"},
      {std::regex("backbone\\.attention(\\d+)\\.out\\.(.*)"), "self_attns.$1.out_proj.$2"},
      {std::regex("backbone\\.score\\.(.*)"), "attn.local_att.fc2.$1"},
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
       "context_transformer.layers.$1.feed_forward.$2.$3"},
      {std::regex("context\\.adaptor\\.shared(\\d+)\\.(.*)"),
       "convert_module.sub_module.share_expt_net.$1.fc.$2"},
      {std::regex("context\\.adaptor\\.specific(\\d+)_(\\d+)\\.(.*)"),
       "convert_module.sub_module.spcf_expt_net.$1.$2.fc.$3"},
      {std::regex("context\\.adaptor\\.gate(\\d+)\\.(.*)"),
       "convert_module.sub_module.gate_net.$1.$2"}};
  for (const auto& [pattern, replacement] : rules) {
    if (!std::regex_match(ours, pattern)) continue;
    return with_entry_number(std::regex_replace(ours, pattern, replacement));
  }
  return "";
}

// Layer i of a perceptron is entry 3i + 1 there (dropout, linear, activation), 4i + 1 and its norm
// 4i + 2 with batch norm; of an expert and of DIN's tower 3i (linear, activation, dropout).
inline std::string GoldenCase::with_entry_number(std::string name) const {
  std::smatch found;
  if (!std::regex_search(name, found, std::regex("(linear|norm)(\\d+)"))) return name;
  const bool plain = name.find("fc.") != std::string::npos;
  const int stride = has_batch_norm() && name.starts_with("mlp_layers") ? 4 : 3;
  const int first = plain ? 0 : (found[1] == "norm" ? 2 : 1);
  name.replace(static_cast<size_t>(found.position()), static_cast<size_t>(found.length()),
               std::to_string(stride * std::stoi(found[2]) + first));
  return name;
}

inline std::vector<RecordedView> GoldenCase::recorded(const std::string& ours,
                                                      const torch::Tensor& tensor) const {
  const auto tail = [&](const std::string& prefix) {
    return ours.starts_with(prefix) ? ours.substr(prefix.size()) : std::string();
  };
  std::vector<RecordedView> views;
  const auto per_layer = [&](const std::string& name, const auto& view) {
    for (int64_t l = 0; l < tensor.size(0); ++l)
      views.push_back({name + "." + std::to_string(l), view(tensor[l])});
  };
  const auto whole = [](const torch::Tensor& layer) { return layer; };
  if (model() == "DCN" && ours == "backbone.cross_weight") per_layer("cross_layer_w", whole);
  if (model() == "DCN" && ours == "backbone.cross_bias") per_layer("cross_layer_b", whole);
  if (model() == "DCNv2") {
    const int64_t E = config_.at("expert_num"), r = config_.at("low_rank");
    if (ours == "backbone.cross_bias") per_layer("bias", whole);
    if (ours == "backbone.c") per_layer("cross_layer_c", whole);
    if (ours == "backbone.u")
      per_layer("cross_layer_u", [&](const torch::Tensor& layer) {
        return layer.view({-1, E, r}).permute({1, 0, 2});
      });
    if (ours == "backbone.v")
      per_layer("cross_layer_v", [&](const torch::Tensor& layer) {
        return layer.view({E, r, -1}).permute({0, 2, 1});
      });
    if (const std::string what = tail("backbone.gate."); !what.empty())
      for (int64_t e = 0; e < E; ++e)
        views.push_back({"gating." + std::to_string(e) + "." + what, tensor.narrow(0, e, 1)});
  }
  if (model() == "DIN")
    if (const std::string what = tail("backbone.attention"); !what.empty()) {
      const int layer = std::stoi(what.substr(0, what.find('.')));
      views.push_back(
          {"attn.local_att.fc1.fc." + std::to_string(2 * layer) + what.substr(what.find('.')),
           tensor});
    }
  if (!views.empty()) return views;
  const std::string name = recorded_name(ours);
  if (name.empty()) return {};
  // The public code's products come map by map, ours field by field.
  if (name.starts_with("conv1d_list.") && name.ends_with(".weight")) {
    return {{name, tensor.view({tensor.size(0), cin_fields(), -1}).permute({0, 2, 1})}};
  }
  return {{name, tensor}};
}

inline int64_t GoldenCase::cin_fields() const {
  const int64_t products = shape("param.conv1d_list.0.weight")[1];  // fields squared
  int64_t fields = 1;
  while (fields * fields < products)
    ++fields;
  return fields;
}

inline Config GoldenCase::backbone_options() const {
  nlohmann::json options = nlohmann::json::object();
  const auto copy = [&](const char* ours, const char* theirs) {
    if (config_.contains(theirs)) options[ours] = config_.at(theirs);
  };
  if (model() == "xDeepFM") {
    copy("cin", "cin_layer_size");
    copy("direct", "direct");
  } else if (model() == "AutoInt") {
    copy("attention_width", "attention_size");
    copy("heads", "num_heads");
    copy("layers", "n_layers");
    copy("residual", "has_residual");
  } else if (model() == "DCN" || model() == "DCNv2") {
    copy("cross_layers", "cross_layer_num");
    copy("experts", "expert_num");
    copy("rank", "low_rank");
  } else if (model() == "DIN") {
    for (int layer = 0; has(attention_weight(layer)); layer += 2)
      options["attention"].push_back(shape(attention_weight(layer))[0]);
  }
  return Config::parse(options.dump());
}

}  // namespace llmcf::models::testing
