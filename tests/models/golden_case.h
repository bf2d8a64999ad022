// A recorded ranking case of the public code (golden/README.md) as this project's inputs:
// specification, options, batch and the names of its tensors.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include <torch/types.h>

#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "models/batch.h"
#include "models/golden_batch.h"
#include "models/golden_recording.h"
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

class GoldenCase : public GoldenRecording {
 public:
  using GoldenRecording::GoldenRecording;

  bool reads_history() const { return model() == "DIN"; }
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

  Batch batch() const;

  // What the recording calls one of our tensors, or its parts where it keeps them apart; empty for
  // what it does not have. Views: writing into them writes into `tensor`. Same elements in the same
  // order as the recorded tensors, whose shapes may have further dimensions of 1.
  std::vector<RecordedView> recorded(const std::string& ours, const torch::Tensor& tensor) const;

 private:
  std::string recorded_name(const std::string& ours) const;
  int64_t cin_fields() const;
  Config backbone_options() const;
  static std::string attention_weight(int entry) {
    return "param.attn.local_att.fc1.fc." + std::to_string(entry) + ".weight";
  }

  TableSpec table(const std::string& name) const {
    return {name, shape("param.emb_tab_dict." + name + "_emb_tab.weight")[0]};
  }

  void read_kar(ModelOptions& options) const {
    options.kar_shared_experts = config_.at("export_num");
    options.kar_specific_experts = config_.at("specific_export_num");
    options.kar_map = config_.at("convert_arch").get<std::vector<int64_t>>();
    options.kar_dropout = config_.at("dropout");
  }
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
  const NameRules rules = {
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
      {std::regex("context\\.adaptor\\.shared(\\d+)\\.(.*)"),
       "convert_module.sub_module.share_expt_net.$1.fc.$2"},
      {std::regex("context\\.adaptor\\.specific(\\d+)_(\\d+)\\.(.*)"),
       "convert_module.sub_module.spcf_expt_net.$1.$2.fc.$3"},
      {std::regex("context\\.adaptor\\.gate(\\d+)\\.(.*)"),
       "convert_module.sub_module.gate_net.$1.$2"}};
  return renamed(ours, rules);
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
