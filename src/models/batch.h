// A batch as models see it: plain arrays, no ids on disk, no libtorch. Built by train/batch_builder
// (and by the golden tests), read by models/recommender.
//
//   B queries   K example slots per query   E distinct examples in the batch   S = B + E samples F
//   fields W width of the frozen text vectors
//
// Invariants:
//  1. Samples [0, B) are the queries in order, samples [B, S) the distinct examples the batch uses.
//  A feature of a
//     sample is computed once, however many queries use it.
//  2. Tables are gathered once per batch: `tables[t].rows` are the distinct rows of table t in use,
//  ascending; bags index
//     into that list ("slab rows"), so that gradients are sparse by construction.
//  3. A field's value is the mean of its bag's rows (times weights, if any), zeros for an empty
//  bag. Padding id 0 is never
//     in a bag under protocol strict; under `paper` a single-valued field may hold row 0.
//  4. Slots are ordered oldest-use first: the last one is next to the query. slot[b, k] = -1 is a
//  masked slot; masked slots
//     come first, so the query keeps position 3K.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace llmcf::models {

// An embedding table: row 0 pads, the last row is out-of-vocabulary under protocol strict.
struct TableSpec {
  std::string name;  // "user_id", "item_id", "brand", ...
  int64_t rows = 0;
};

enum class FieldRole { kUser, kItem, kContext, kHistory };

struct FieldSpec {
  std::string name;  // "item_id", "hist_item_id", ...
  int table = 0;     // index into FeatureSpec::tables; history fields share the item field's table
  FieldRole role = FieldRole::kItem;
  bool single = true;  // exactly one id per sample (user, item, brand): bags may hold id 0 under
                       // protocol paper
};

// What the data decides about a model. Field order: user fields, item fields, context fields,
// history fields; the Amazon preset gives user_id, item_id, brand, category, hist_item_id,
// hist_brand, hist_category.
struct FeatureSpec {
  std::vector<TableSpec> tables;
  std::vector<FieldSpec> fields;
  // Item fields that are also known for every item of a history (Batch::history), ascending; empty
  // = batches carry no histories item by item.
  std::vector<int> sequence_fields = {};
  int64_t text_dim = 0;  // W; 0 = no text
  int64_t kar_dim = 0;   // width of the KAR vectors; 0 = none
  int64_t num_fields() const { return static_cast<int64_t>(fields.size()); }
};

// What a batch says of each slot (Batch::slot_features), in this order: the score of the retrieval,
// its history half, its target half, the example's age, whether both targets are the same item, and
// per item field of ids whether the two items share a value. Scaled to about [-2, 2]; similarities
// s as 4 s - 2, ages as (log days) / 2 - 2.
inline constexpr int64_t kFixedSlotFeatures = 5;
inline float slot_similarity(float similarity) {
  return 4 * similarity - 2;
}
inline float slot_age(int64_t seconds) {
  const double days = static_cast<double>(std::max<int64_t>(seconds, 0)) / 86400;
  return static_cast<float>(std::log1p(days) / 2 - 2);  // a day -1.7, a year 0.95
}
inline bool is_shared_feature(const FieldSpec& field) {
  return field.role == FieldRole::kItem && field.name != "item_id";
}
inline int64_t slot_feature_count(const FeatureSpec& spec) {
  return kFixedSlotFeatures +
         std::count_if(spec.fields.begin(), spec.fields.end(), is_shared_feature);
}

struct Bag {
  std::vector<int32_t> offsets;  // [S + 1]
  std::vector<int32_t> ids;      // slab rows
  std::vector<float> weights;    // empty = all 1; else one per id (numeric fields: the value)
};

struct TableRows {
  std::vector<int32_t> rows;  // slab row r holds row rows[r] of the table
};

// The last L items that each query's user took before, item by item: what sequence models read.
// Events are packed without padding; an item is embedded once, however often the batch shows it.
struct HistoryItems {
  std::vector<int32_t> offsets;  // [B + 1]: query b's events, oldest first
  std::vector<int32_t> items;    // [N] index into [0, U)
  int64_t distinct = 0;          // U
  std::vector<Bag> fields;       // [number of sequence fields], each over U items
};

struct Batch {
  int64_t queries = 0;  // B
  int64_t samples = 0;  // S
  int64_t slots = 0;    // K; 0 = no examples in this batch

  std::vector<TableRows> tables;  // [number of tables]
  std::vector<Bag> fields;        // [F], each over S samples
  HistoryItems history;           // empty unless FeatureSpec::sequence_fields names fields
  std::vector<float> labels;      // [B]

  // Frozen text (empty when text_dim == 0).
  std::vector<int32_t> text_items;   // [T] distinct item ids, rows of the frozen item-text table
  std::vector<int32_t> sample_text;  // [S] index into text_items
  std::vector<float>
      history_text;  // [S, W] mean of the history's item texts (last L items), zeros if empty

  // Examples.
  std::vector<int32_t> example_ids;    // [E] rows of the example set (and of the frozen CoT table)
  std::vector<int32_t> example_label;  // [E] 0 or 1
  std::vector<int32_t> slot;           // [B, K] index into [0, E), -1 = masked
  std::vector<float> slot_similarity;  // [B, K] retrieval score, 0 where masked
  std::vector<float> slot_features;    // [B, K, G] slot_feature_count(), zeros where masked; empty
                                       // unless asked for

  std::vector<float> alignment;  // [B] of history and target (retrieval); empty when unused

  // Side tables, empty when unused.
  std::vector<float> teacher_logits;  // [B, 2] (Yes, No)
  std::vector<float> kar_user;        // [B, kar_dim]
  std::vector<float> kar_item;        // [B, kar_dim]
};

}  // namespace llmcf::models
