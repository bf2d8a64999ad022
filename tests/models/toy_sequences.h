// Sequence batches made by hand for tests: histories in, arrays out. The whole tables are the
// slabs, so that ids are slab rows.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/random.h"
#include "models/options.h"
#include "models/sequence_batch.h"
#include "models/sequence_recommender.h"
#include "models/session_graph.h"

namespace llmcf::models::testing {

class ToySequences {
 public:
  static constexpr int64_t kItems = 30, kUsers = 6, kDim = 8, kText = 5, kExamples = 4,
                           kLength = 20;

  ToySequences() {
    Random random(5, "toy");
    for (int64_t i = 0; i < (kItems + 1) * kText; ++i)
      item_text_.push_back(i < kText ? 0.0F : static_cast<float>(random.normal()));
    for (int64_t i = 0; i < kExamples * kText; ++i)
      cot_.push_back(static_cast<float>(random.normal()));
  }

  static SequenceData data() {
    return {.user_rows = kUsers + 2,
            .item_rows = kItems + 2,
            .items = kItems,
            .history_length = kLength,
            .text_dim = kText};
  }
  FrozenTables frozen() const { return {.item_text = item_text_, .cot = cot_}; }

  static ModelOptions options(const std::string& backbone, const std::string& context = "none",
                              const std::string& more = "") {
    return ModelOptions::from(
        Config::parse("{backbone: " + backbone +
                      ", embed_dim: 8, dropout: 0.1, context: " + context + more + "}"),
        "strict");
  }

  // One query per history, targets among the items that follow; `slots` examples each.
  SequenceBatch batch(const std::vector<std::vector<int32_t>>& histories, int64_t slots = 0) const {
    SequenceBatch batch;
    batch.offsets = {0};
    SessionGraphBuilder graphs;
    graphs.begin(kItems + 2, batch.graphs);
    for (size_t q = 0; q < histories.size(); ++q) {
      add(histories[q], static_cast<int32_t>(q % kUsers) + 1, 0, graphs, batch);
      batch.target.push_back(static_cast<int32_t>(1 + (7 * q + 3) % kItems));
      batch.log_share.push_back(-3.0F - 0.1F * static_cast<float>(q));
    }
    Batch& common = batch.common;
    common.queries = static_cast<int64_t>(histories.size());
    common.slots = slots;
    for (int64_t s = 0; s < common.queries * slots; ++s) {
      common.slot.push_back(static_cast<int32_t>(s % kExamples));
      common.slot_similarity.push_back(0.5F);
      common.slot_features.insert(common.slot_features.end(), {0.5F, 0.5F, 0, 0.1F, 0});
    }
    for (int32_t e = 0; slots > 0 && e < kExamples; ++e) {
      common.example_ids.push_back(e);
      common.example_label.push_back(e % 2);
      add({e + 1, e + 5}, e + 1, e + 9, graphs, batch);
    }
    common.samples = static_cast<int64_t>(batch.reads.size());
    common.tables.resize(2);
    common.tables[kItemTable].rows = all_rows(kItems + 2);
    common.tables[kUserTable].rows = all_rows(kUsers + 2);
    common.text_items = all_rows(kItems + 1);
    common.sample_text = batch.sample_item;
    batch.negative = {4, 8, 15, 16, 23};
    return batch;
  }

  // Some of everything: empty, single, repeated, as long as the window.
  static std::vector<std::vector<int32_t>> histories() {
    std::vector<int32_t> longest(kLength);
    std::iota(longest.begin(), longest.end(), 2);
    return {
        {}, {3}, {1, 2, 3}, {9, 9, 9, 9}, longest, {5, 6, 5, 6, 7}, std::vector<int32_t>(20, 12)};
  }

 private:
  static std::vector<int32_t> all_rows(int64_t count) {
    std::vector<int32_t> rows(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }

  void add(const std::vector<int32_t>& history, int32_t user, int32_t item,
           SessionGraphBuilder& graphs, SequenceBatch& batch) const {
    const std::vector<int32_t> tokens = history.empty() ? std::vector<int32_t>{0} : history;
    batch.items.insert(batch.items.end(), tokens.begin(), tokens.end());
    batch.offsets.push_back(static_cast<int32_t>(batch.items.size()));
    batch.reads.push_back(batch.offsets.back() - 1);
    batch.sample_user.push_back(user);
    batch.sample_item.push_back(item);
    graphs.add(tokens, batch.graphs);
    for (int64_t w = 0; w < kText; ++w) {
      float sum = 0;
      for (const int32_t seen : history)
        sum += item_text_[static_cast<size_t>(seen * kText + w)];
      batch.common.history_text.push_back(
          history.empty() ? 0 : sum / static_cast<float>(history.size()));
    }
  }

  std::vector<float> item_text_, cot_;
};

}  // namespace llmcf::models::testing
