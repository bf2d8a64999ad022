// A small world for tests: seven fields over four tables, texts, an example pool, and batches of
// it whose labels the user and item decide.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "core/random.h"
#include "models/batch.h"
#include "models/options.h"
#include "models/trainable_ctr.h"

namespace llmcf::models::testing {

class ToyWorld {
 public:
  static constexpr int64_t kUsers = 20, kItems = 15, kBrands = 5, kCategories = 4, kPool = 12;
  static constexpr int64_t kText = 9, kKar = 7;

  ToyWorld() {
    Random random(1, "toy");
    item_text_.resize((kItems + 2) * kText);
    cot_.resize(kPool * kText);
    for (auto* table : {&item_text_, &cot_})
      for (float& value : *table)
        value = static_cast<float>(random.normal());
    std::fill_n(item_text_.begin(), kText, 0.0F);
  }

  static FeatureSpec spec() {
    return {.tables = {{"user_id", kUsers + 2},
                       {"item_id", kItems + 2},
                       {"brand", kBrands + 2},
                       {"category", kCategories + 2}},
            .fields = {{"user_id", 0, FieldRole::kUser, true},
                       {"item_id", 1, FieldRole::kItem, true},
                       {"brand", 2, FieldRole::kItem, true},
                       {"category", 3, FieldRole::kItem, false},
                       {"hist_item_id", 1, FieldRole::kHistory, false},
                       {"hist_brand", 2, FieldRole::kHistory, false},
                       {"hist_category", 3, FieldRole::kHistory, false}},
            .sequence_fields = {1, 2, 3},
            .text_dim = kText,
            .kar_dim = kKar};
  }

  FrozenTables frozen() const { return {.item_text = item_text_, .cot = cot_}; }

  // The published in-context module; `ict` is appended to its section: ", evidence: true".
  static ModelOptions options(const std::string& context = "none",
                              const std::string& backbone = "deepfm", const std::string& ict = "") {
    return ModelOptions::from(
        Config::parse("{embed_dim: 8, mlp: [12, 6], dropout: 0.1, text_map: [10, 8], "
                      "token_map: [12, 8], ict: {module: published, reconstruction_map: [10]" +
                      ict +
                      "}, kar: {map: [6, 4]}, "
                      "context: " +
                      context + ", backbone: " + backbone + "}"),
        "strict");
  }

  // Rows, examples and lengths drawn from (seed, index). The last query has an empty history and no
  // example.
  static Batch batch(uint64_t index, int64_t queries = 16, int64_t slots = 2) {
    Random random(index, "toy.batch");
    Batch batch;
    batch.queries = queries;
    batch.slots = slots;
    batch.tables.resize(4);
    batch.fields.resize(7);
    for (Bag& bag : batch.fields)
      bag.offsets.push_back(0);
    for (int64_t e = 0; e < kPool; ++e) {
      batch.example_ids.push_back(static_cast<int32_t>(e));
      batch.example_label.push_back(static_cast<int32_t>(e % 2));
    }
    batch.samples = queries + kPool;
    for (int64_t s = 0; s < batch.samples; ++s)
      add_sample(batch, random, s < queries, s + 1 == queries);
    for (int64_t b = 0; b < queries; ++b)
      add_row(batch, random, b + 1 == queries);
    add_histories(batch);
    make_slabs(batch);
    return batch;
  }

  // The batch with other histories, item by item.
  static Batch with_histories(Batch batch, const std::vector<std::vector<int32_t>>& histories) {
    constexpr int kTable[3] = {1, 2, 3};
    set_histories(batch, histories);
    for (size_t g = 0; g < 3; ++g) {
      // Every row of the table is in use, so that any item has one.
      auto& rows = batch.tables[kTable[g]].rows;
      const std::vector<int32_t> before = rows;
      rows.clear();
      for (int32_t row = 0; row < spec().tables[kTable[g]].rows; ++row)
        rows.push_back(row);
      for (Bag* bag : {&batch.fields[g + 1], &batch.fields[g + 4]})
        for (int32_t& id : bag->ids)
          id = before[static_cast<size_t>(id)];
    }
    return batch;
  }

 private:
  static void set_histories(Batch& batch, const std::vector<std::vector<int32_t>>& histories) {
    HistoryItems& history = batch.history;
    history = {};
    history.offsets = {0};
    history.fields.resize(3);
    for (Bag& bag : history.fields)
      bag.offsets = {0};
    std::vector<int32_t> distinct;
    for (const std::vector<int32_t>& items : histories) {
      for (const int32_t item : items) {
        const auto known = std::find(distinct.begin(), distinct.end(), item);
        history.items.push_back(static_cast<int32_t>(known - distinct.begin()));
        if (known == distinct.end()) distinct.push_back(item);
      }
      history.offsets.push_back(static_cast<int32_t>(history.items.size()));
    }
    for (const int32_t item : distinct) {
      history.fields[0].ids.push_back(item);
      history.fields[1].ids.push_back(1 + item % static_cast<int32_t>(kBrands));
      history.fields[2].ids.push_back(1 + item % static_cast<int32_t>(kCategories));
      for (Bag& bag : history.fields)
        bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    }
    history.distinct = static_cast<int64_t>(distinct.size());
  }

  static void add_histories(Batch& batch) {
    std::vector<std::vector<int32_t>> histories;
    const Bag& seen = batch.fields[4];
    for (size_t b = 0; b < static_cast<size_t>(batch.queries); ++b)
      histories.emplace_back(seen.ids.begin() + seen.offsets[b],
                             seen.ids.begin() + seen.offsets[b + 1]);
    set_histories(batch, histories);
  }

  // Table rows become positions in the ascending list of a table's distinct rows.
  static void make_slabs(Batch& batch) {
    constexpr int kTable[7] = {0, 1, 2, 3, 1, 2, 3};
    std::vector<std::pair<int, Bag*>> bags;
    for (size_t f = 0; f < 7; ++f)
      bags.emplace_back(kTable[f], &batch.fields[f]);
    for (size_t g = 0; g < 3; ++g)
      bags.emplace_back(kTable[g + 1], &batch.history.fields[g]);
    for (const auto& [table, bag] : bags) {
      auto& rows = batch.tables[static_cast<size_t>(table)].rows;
      rows.insert(rows.end(), bag->ids.begin(), bag->ids.end());
    }
    for (TableRows& table : batch.tables) {
      std::sort(table.rows.begin(), table.rows.end());
      table.rows.erase(std::unique(table.rows.begin(), table.rows.end()), table.rows.end());
    }
    for (const auto& [table, bag] : bags) {
      const auto& rows = batch.tables[static_cast<size_t>(table)].rows;
      for (int32_t& id : bag->ids)
        id = static_cast<int32_t>(std::lower_bound(rows.begin(), rows.end(), id) - rows.begin());
    }
  }

  static int32_t below(Random& random, int64_t bound) {
    return static_cast<int32_t>(random.below(static_cast<uint64_t>(bound)));
  }

  static void add_sample(Batch& batch, Random& random, bool query, bool cold) {
    const auto push = [&](size_t field, int32_t id) { batch.fields[field].ids.push_back(id); };
    const int32_t user = 1 + below(random, kUsers), item = 1 + below(random, kItems);
    push(0, user);
    push(1, item);
    push(2, 1 + item % static_cast<int32_t>(kBrands));
    push(3, 1 + item % static_cast<int32_t>(kCategories));
    for (int32_t i = cold ? 0 : 1 + below(random, 4); i > 0; --i) {
      const int32_t seen = 1 + below(random, kItems);
      push(4, seen);
      push(5, 1 + seen % static_cast<int32_t>(kBrands));
      push(6, 1 + seen % static_cast<int32_t>(kCategories));
    }
    for (Bag& bag : batch.fields)
      bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    if (query) batch.labels.push_back((user + item) % 3 == 0 ? 1.0F : 0.0F);
    batch.sample_text.push_back(static_cast<int32_t>(batch.text_items.size()));
    batch.text_items.push_back(item);
    for (int64_t w = 0; w < kText; ++w)
      batch.history_text.push_back(cold ? 0.0F : static_cast<float>(random.normal()));
  }

  static void add_row(Batch& batch, Random& random, bool cold) {
    for (int64_t k = 0; k < batch.slots; ++k) {
      const bool masked = cold || (k == 0 && random.below(3) == 0);
      batch.slot.push_back(masked ? -1 : below(random, kPool));
      batch.slot_similarity.push_back(0.0F);
      for (int64_t g = 0; g < slot_feature_count(spec()); ++g)
        batch.slot_features.push_back(masked ? 0.0F : static_cast<float>(random.normal()));
    }
    batch.alignment.push_back(cold ? 0.0F : static_cast<float>(random.uniform()));
    for (int i = 0; i < 2; ++i)
      batch.teacher_logits.push_back(static_cast<float>(random.normal()));
    for (int64_t i = 0; i < kKar; ++i) {
      batch.kar_user.push_back(static_cast<float>(random.normal()));
      batch.kar_item.push_back(static_cast<float>(random.normal()));
    }
  }

  std::vector<float> item_text_, cot_;
};

}  // namespace llmcf::models::testing
