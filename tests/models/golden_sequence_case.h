// A recorded retrieval case of the public code (golden/README.md) as this project's inputs.
#pragma once

#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include <torch/types.h>

#include "models/golden_recording.h"
#include "models/options.h"
#include "models/sequence_batch.h"
#include "models/sequence_recommender.h"

namespace llmcf::models::testing {

// Distinct table rows and their places, as train/sequence_builder makes them.
class SlabRows {
 public:
  void add(int64_t row) { rows_.push_back(static_cast<int32_t>(row)); }
  const std::vector<int32_t>& finish() {
    std::sort(rows_.begin(), rows_.end());
    rows_.erase(std::unique(rows_.begin(), rows_.end()), rows_.end());
    return rows_;
  }
  void replace(std::vector<int32_t>& ids) const {
    for (int32_t& id : ids)
      id = static_cast<int32_t>(std::lower_bound(rows_.begin(), rows_.end(), id) - rows_.begin());
  }

 private:
  std::vector<int32_t> rows_;
};

class GoldenSequenceCase : public GoldenRecording {
 public:
  using GoldenRecording::GoldenRecording;

  bool augmented() const { return variant() == "aug"; }

  ModelOptions options() const {
    static const std::map<std::string, std::string> kBackbones = {
        {"SASREC", "sasrec"}, {"GRU4REC", "gru4rec"}, {"YoutubeDNN", "youtubednn"}};
    nlohmann::json own = nlohmann::json::object();
    if (model() == "SASREC")
      own = {{"blocks", config_.at("num_blocks")}, {"heads", config_.at("num_heads")}};
    if (model() == "GRU4REC") own = {{"layers", config_.at("num_layers")}};
    const std::string backbone = kBackbones.at(model());
    const nlohmann::json section = {{"backbone", backbone},
                                    {"embed_dim", config_.at("item_id_dim")},
                                    {"dropout", 0},
                                    {"context", augmented() ? "ict" : "none"},
                                    {"ict", {{"heads", config_.value("decoder_nhead", 2)}}},
                                    {backbone, own}};
    ModelOptions options = ModelOptions::from(Config::parse(section.dump()), "paper");
    options.reconstruction_weight = config_.value("reconstruct_weight", 0.0);
    if (augmented()) read_context(options);
    return options;
  }

  SequenceData data() const {
    return {.user_rows = shape("param.emb_tab_dict.user_id_emb_tab.weight")[0],
            .item_rows = shape("param.emb_tab_dict.item_id_emb_tab.weight")[0],
            .items = shape("param.emb_tab_dict.item_id_emb_tab.weight")[0] - 1,
            .history_length = config_.at("max_len"),
            .text_dim = augmented() ? shape("in.item_text")[1] : 0};
  }

  FrozenTables frozen() const {
    if (!augmented()) return {};
    return {.item_text = item_text_, .cot = cot_};
  }

  SequenceBatch batch() const {
    SequenceBatch batch;
    batch.offsets = {0};
    const auto targets = values_of<int64_t>(reader_, "in.item");
    batch.common.queries = static_cast<int64_t>(targets.size());
    for (size_t b = 0; b < targets.size(); ++b) {
      add_sample("in.", b, 0, batch);
      batch.target.push_back(static_cast<int32_t>(targets[b]));
    }
    if (augmented()) add_examples(batch);
    batch.common.samples = static_cast<int64_t>(batch.reads.size());
    for (const int64_t item : values_of<int64_t>(reader_, "in.negatives"))
      batch.negative.push_back(static_cast<int32_t>(item));
    batch.common.tables.resize(2);
    to_slab_rows(kItemTable, {&batch.items, &batch.sample_item, &batch.target, &batch.negative},
                 batch);
    to_slab_rows(kUserTable, {&batch.sample_user}, batch);
    return batch;
  }

  std::vector<RecordedView> recorded(const std::string& ours, const torch::Tensor& tensor) const {
    static const NameRules kRules = {
        {std::regex("backbone\\.positions"), "pos_emb.weight"},
        {std::regex("backbone\\.block(\\d+)_(attention|forward)_norm\\.(.*)"),
         "$2_layernorms.$1.$3"},
        {std::regex("backbone\\.block(\\d+)_in\\.(.*)"), "attention_layers.$1.in_proj_$2"},
        {std::regex("backbone\\.block(\\d+)_out\\.(.*)"), "attention_layers.$1.out_proj.$2"},
        {std::regex("backbone\\.block(\\d+)_forward0\\.(.*)"), "forward_layers.$1.conv1.$2"},
        {std::regex("backbone\\.block(\\d+)_forward1\\.(.*)"), "forward_layers.$1.conv2.$2"},
        {std::regex("backbone\\.last_norm\\.(.*)"), "last_layernorm.$1"},
        {std::regex("backbone\\.input(\\d+)"), "gru_layers.weight_ih_l$1"},
        {std::regex("backbone\\.hidden(\\d+)"), "gru_layers.weight_hh_l$1"},
        {std::regex("backbone\\.dense\\.(.*)"), "dense.$1"},
        {std::regex("backbone\\.dense0\\.(.*)"), "dense.0.$1"},
        {std::regex("backbone\\.dense1\\.(.*)"), "dense.2.$1"},
        {std::regex("backbone\\.dense2\\.(.*)"), "dense.4.$1"},
        {std::regex("fusion0\\.(.*)"), "intergrate_user_emb.0.$1"},
        {std::regex("fusion1\\.(.*)"), "intergrate_user_emb.2.$1"}};
    const std::string name = renamed(ours, kRules);
    if (name.empty()) return {};
    return {{name, tensor}};
  }

 private:
  void add_sample(const std::string& prefix, size_t row, int64_t item, SequenceBatch& batch) const {
    const auto history = values_of<int64_t>(reader_, prefix + "history");
    const auto length = static_cast<size_t>(reader_.tensor(prefix + "history").shape[1]);
    std::vector<int64_t> seen;
    for (size_t i = 0; i < length; ++i)
      if (const int64_t id = history[row * length + i]; id != 0) seen.push_back(id);
    for (const int64_t id : seen.empty() ? std::vector<int64_t>{0} : seen)
      batch.items.push_back(static_cast<int32_t>(id));
    batch.offsets.push_back(static_cast<int32_t>(batch.items.size()));
    batch.reads.push_back(batch.offsets.back() - 1);
    batch.sample_user.push_back(
        static_cast<int32_t>(values_of<int64_t>(reader_, prefix + "user")[row]));
    batch.sample_item.push_back(static_cast<int32_t>(item));
    if (augmented()) add_text(item, seen, batch.common);
  }

  void add_text(int64_t item, const std::vector<int64_t>& history, Batch& batch) const {
    const auto known = std::find(batch.text_items.begin(), batch.text_items.end(), item);
    batch.sample_text.push_back(static_cast<int32_t>(known - batch.text_items.begin()));
    if (known == batch.text_items.end()) batch.text_items.push_back(static_cast<int32_t>(item));
    const int64_t width = shape("in.item_text")[1];
    for (int64_t w = 0; w < width; ++w) {
      float sum = 0;
      for (const int64_t id : history)
        sum += item_text_[static_cast<size_t>(id * width + w)];
      batch.history_text.push_back(sum / (static_cast<float>(history.size()) + 1e-9F));
    }
  }

  void add_examples(SequenceBatch& batch) const {
    const auto labels = values_of<int64_t>(reader_, "in.pool.label");
    const auto items = values_of<int64_t>(reader_, "in.pool.item");
    batch.common.slots = shape("in.icl")[1];
    auto& ids = batch.common.example_ids;
    for (const int64_t id : values_of<int64_t>(reader_, "in.icl")) {
      const auto known = std::find(ids.begin(), ids.end(), id);
      batch.common.slot.push_back(static_cast<int32_t>(known - ids.begin()));
      batch.common.slot_similarity.push_back(0.0F);
      if (known != ids.end()) continue;
      ids.push_back(static_cast<int32_t>(id));
      batch.common.example_label.push_back(static_cast<int32_t>(labels[static_cast<size_t>(id)]));
      add_sample("in.pool.", static_cast<size_t>(id), items[static_cast<size_t>(id)], batch);
    }
  }

  static void to_slab_rows(size_t table, const std::vector<std::vector<int32_t>*>& lists,
                           SequenceBatch& batch) {
    SlabRows rows;
    for (const auto* list : lists)
      for (const int32_t id : *list)
        rows.add(id);
    batch.common.tables[table].rows = rows.finish();
    for (auto* list : lists)
      rows.replace(*list);
  }
};

}  // namespace llmcf::models::testing
