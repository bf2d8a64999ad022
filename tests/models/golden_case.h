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
#include "models/options.h"
#include "models/trainable_ctr.h"
#include "nn/optimizer_options.h"

namespace llmcf::models::testing {

// A copy of a recorded tensor's values (the files do not align their tensors).
template <typename T>
std::vector<T> values_of(const SafetensorsReader& reader, const std::string& key) {
  const TensorView& view = reader.tensor(key);
  if (view.dtype != dtype_of<T>()) throw Error(key + " has another type");
  std::vector<T> values(view.bytes / sizeof(T));
  std::memcpy(values.data(), view.data, view.bytes);
  return values;
}

// Backbones by the public code's names.
inline const std::map<std::string, std::string>& backbone_of() {
  static const std::map<std::string, std::string> names = {
      {"DeepFM", "deepfm"}, {"xDeepFM", "xdeepfm"}, {"AutoInt", "autoint"},
      {"DCN", "dcn"},       {"DCNv2", "dcnv2"},     {"DIN", "din"}};
  return names;
}

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
            .text_dim = text ? shape("in.item_text")[1] : 0,
            .kar_dim = variant() == "kar" ? shape("in.kar_user")[1] : 0};
  }

  ModelOptions options() const {
    ModelOptions options = ModelOptions::from(Config::parse(""), "paper");
    options.backbone = backbone_of().at(model());
    options.embed_dim = config_.at("item_id_dim");
    options.mlp = config_.at("mlp_hidden_size").get<std::vector<int64_t>>();
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

  // The recorded name of one of our tensors; empty if the recording has none.
  static std::string recorded_name(const std::string& ours);

 private:
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

// Builds what train/batch_builder would: samples, bags over distinct rows, texts, slots.
class GoldenBatchBuilder {
 public:
  explicit GoldenBatchBuilder(const SafetensorsReader& reader)
      : reader_(reader),
        brand_(values_of<int64_t>(reader, "in.item_brand")),
        category_(values_of<int64_t>(reader, "in.item_category")),
        text_(values_of<float>(reader, "in.item_text")) {
    per_item_ = reader.tensor("in.item_category").shape[1];
    width_ = reader.tensor("in.item_text").shape[1];
  }

  Batch build(bool with_examples, bool with_text) {
    const auto labels = values_of<float>(reader_, "in.label");
    batch_.labels.assign(labels.begin(), labels.end());
    batch_.queries = static_cast<int64_t>(labels.size());
    batch_.fields.resize(7);
    batch_.tables.resize(4);
    for (Bag& bag : batch_.fields)
      bag.offsets = {0};
    with_text_ = with_text;
    for (int64_t b = 0; b < batch_.queries; ++b)
      add_sample("in.", b);
    if (with_examples) add_examples();
    batch_.samples = static_cast<int64_t>(batch_.fields[0].offsets.size()) - 1;
    for (int t = 0; t < 4; ++t)
      make_slab(t);
    return std::move(batch_);
  }

 private:
  static constexpr int kTable[7] = {0, 1, 2, 3, 1, 2, 3};

  void add_sample(const std::string& prefix, int64_t row) {
    const int64_t user = values_of<int64_t>(reader_, prefix + "user")[static_cast<size_t>(row)];
    const int64_t item = values_of<int64_t>(reader_, prefix + "item")[static_cast<size_t>(row)];
    const auto history = values_of<int64_t>(reader_, prefix + "history");
    const int64_t length = reader_.tensor(prefix + "history").shape[1];
    push(0, user);
    push(1, item);
    push(2, brand_[static_cast<size_t>(item)]);
    push_categories(3, item);
    std::vector<int64_t> seen;
    for (int64_t i = 0; i < length; ++i)
      if (const int64_t id = history[static_cast<size_t>(row * length + i)]; id != 0)
        seen.push_back(id);
    for (const int64_t id : seen) {
      push(4, id);
      if (const int64_t brand = brand_[static_cast<size_t>(id)]; brand != 0) push(5, brand);
      push_categories(6, id);
    }
    for (Bag& bag : batch_.fields)
      bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    if (with_text_) add_text(item, seen);
  }

  void push(size_t field, int64_t id) {
    batch_.fields[field].ids.push_back(static_cast<int32_t>(id));
  }

  void push_categories(size_t field, int64_t item) {
    for (int64_t c = 0; c < per_item_; ++c)
      if (const int64_t id = category_[static_cast<size_t>(item * per_item_ + c)]; id != 0)
        push(field, id);
  }

  void add_text(int64_t item, const std::vector<int64_t>& history) {
    const auto known = std::find(batch_.text_items.begin(), batch_.text_items.end(), item);
    batch_.sample_text.push_back(static_cast<int32_t>(known - batch_.text_items.begin()));
    if (known == batch_.text_items.end()) batch_.text_items.push_back(static_cast<int32_t>(item));
    for (int64_t w = 0; w < width_; ++w) {
      float sum = 0;
      for (const int64_t id : history)
        sum += text_[static_cast<size_t>(id * width_ + w)];
      batch_.history_text.push_back(sum / (static_cast<float>(history.size()) + 1e-9F));
    }
  }

  void add_examples() {
    const auto chosen = values_of<int64_t>(reader_, "in.icl");
    batch_.slots = reader_.tensor("in.icl").shape[1];
    for (const int64_t id : chosen) {
      auto& ids = batch_.example_ids;
      const auto known = std::find(ids.begin(), ids.end(), id);
      batch_.slot.push_back(static_cast<int32_t>(known - ids.begin()));
      batch_.slot_similarity.push_back(0.0F);
      if (known != ids.end()) continue;
      ids.push_back(static_cast<int32_t>(id));
      batch_.example_label.push_back(static_cast<int32_t>(
          values_of<int64_t>(reader_, "in.pool.label")[static_cast<size_t>(id)]));
      add_sample("in.pool.", id);
    }
  }

  // Ids become positions in the ascending list of distinct rows.
  void make_slab(int table) {
    auto& rows = batch_.tables[static_cast<size_t>(table)].rows;
    for (size_t f = 0; f < 7; ++f)
      if (kTable[f] == table)
        rows.insert(rows.end(), batch_.fields[f].ids.begin(), batch_.fields[f].ids.end());
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    for (size_t f = 0; f < 7; ++f) {
      if (kTable[f] != table) continue;
      for (int32_t& id : batch_.fields[f].ids)
        id = static_cast<int32_t>(std::lower_bound(rows.begin(), rows.end(), id) - rows.begin());
    }
  }

  const SafetensorsReader& reader_;
  std::vector<int64_t> brand_, category_;
  std::vector<float> text_;
  int64_t per_item_ = 0, width_ = 0;
  bool with_text_ = false;
  Batch batch_;
};

inline Batch GoldenCase::batch() const {
  const bool augmented = variant().starts_with("aug");
  Batch batch = GoldenBatchBuilder(reader_).build(augmented, augmented);
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

inline std::string GoldenCase::recorded_name(const std::string& ours) {
  static const std::vector<std::pair<std::regex, std::string>> rules = {
      {std::regex("tables\\.(.*)"), "emb_tab_dict.$1_emb_tab.weight"},
      {std::regex("first_order\\.(.*)"), "lr.emb_tab_dict.$1_emb_tab.weight"},
      {std::regex("backbone\\.tower\\.(.*)"), "mlp_layers.mlp_layers.$1"},
      {std::regex("backbone\\.head\\.(.*)"), "deep_predict_layer.$1"},
      {std::regex("backbone\\.context_linear\\.(.*)"), "lr_dense_vec_weight.$1"},
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
    std::string name = std::regex_replace(ours, pattern, replacement);
    // Layer i of a perceptron is entry 3i + 1 there, of an expert 3i.
    std::smatch found;
    if (std::regex_search(name, found, std::regex("linear(\\d+)"))) {
      const int first = name.find(".fc.") == std::string::npos ? 1 : 0;
      name.replace(static_cast<size_t>(found.position()), static_cast<size_t>(found.length()),
                   std::to_string(3 * std::stoi(found[1]) + first));
    }
    return name;
  }
  return "";
}

}  // namespace llmcf::models::testing
