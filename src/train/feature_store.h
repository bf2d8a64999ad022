// What a model may read of a data set, laid out for building batches: the feature specification
// (tables, fields) and, per field, the table rows of every user, item or event. No libtorch.
//
// Invariants:
//  1. Field order: user_id, user features, item_id, item features, context features, then
//  hist_item_id and
//     hist_<item feature>. The Amazon preset gives user_id, item_id, brand, category, hist_item_id,
//     hist_brand, hist_category. History fields share the item field's table. Text features have no
//     table.
//  2. strict: a table has one row more than its vocabulary; the last row is out-of-vocabulary.
//  Users without a
//     training row read it; items and attributes are all known (they come from the catalogue). A
//     missing value is an empty bag. paper: no such row, and a missing value of a single-valued
//     field is row 0.
//  3. A numeric feature is a table with one row in use (1), weighted by the standardised value.
//  4. Everything is a view or a copy of its own except what FeatureInputs points at: that must
//  outlive the store.
//
// Thread safety: const after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "models/batch.h"
#include "models/options.h"
#include "retrieval/assign.h"

namespace llmcf::train {

// The examples a query may be shown, by example id; empty spans = no examples. All spans have the
// same length N.
struct ExampleColumns {
  std::span<const int32_t> user;
  std::span<const int32_t> item;
  std::span<const int32_t> position;  // length of the example's history
  std::span<const float> label;
  // For context features; empty = that of the training row with the example's user, position and
  // item.
  std::span<const int64_t> event;
  std::span<const int64_t> time = {};  // Unix seconds; may be empty: ages unknown

  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

// Which examples each row of one split is shown: [rows, k] row-major, -1 = no example. The order is
// kept (the last one is next to the query); free slots move to the front.
struct SlotColumns {
  std::span<const int32_t> ids;
  std::span<const float> similarity;  // may be empty: all 0
  // The two halves of the similarity; may be empty: all 0.
  std::span<const float> history_similarity = {}, target_similarity = {};
  std::span<const float> alignment = {};  // [rows]; may be empty

  static SlotColumns of(const retrieval::Assignment& slots) {
    return {.ids = slots.ids,
            .similarity = slots.similarity,
            .history_similarity = slots.history_similarity,
            .target_similarity = slots.target_similarity,
            .alignment = slots.alignment};
  }
};

// What a store reads. Spans may be empty where a model does not use them.
struct FeatureInputs {
  const data::Dataset* dataset = nullptr;
  const data::RowSet* rows = nullptr;
  std::span<const float>
      item_text;  // [num_items + 1, text_dim], row 0 zeros; empty = a model without text
  int64_t text_dim = 0;
  ExampleColumns examples;
  const data::RowSet* example_rows = nullptr;  // whose training rows the examples are; null = rows
  int64_t k = 0;                               // slots per row
  std::array<SlotColumns, 3> slots;            // by data::Split
  // Side tables of the KD and KAR variants.
  // By split: [rows, 2] (Yes, No); NaN = a row without a teacher. Read for training rows only.
  std::array<std::span<const float>, 3> teacher_logits;
  std::span<const float> kar_user;                       // [R, kar_dim]
  std::array<std::span<const int32_t>, 3> kar_user_row;  // by split: [rows] into [0, R)
  std::span<const float> kar_item;                       // [num_items + 1, kar_dim]
  int64_t kar_dim = 0;
  bool slot_features = false;  // batches say what retrieval knows of each slot
  bool histories = false;      // batches carry histories item by item (models::Batch::history)
};

struct FeatureOptions {
  int64_t history_length = 20;  // L: the last L items count
  bool paper = false;           // protocol: paper

  // Reads the key history_length; `protocol` is "strict" or "paper".
  static FeatureOptions from(const Config& config, const std::string& protocol);
};

// What a model of these options reads of `inputs`: texts, examples and side tables it does not use
// are taken out, so that no time goes into them.
FeatureInputs inputs_for(const models::ModelOptions& model, FeatureInputs inputs);

// Where a field's values come from.
enum class SourceKind {
  kUserId,  // user_row(user)
  kItemId,  // the item
  kColumn,  // entity e's table rows are ids[offsets[e], offsets[e + 1])
  kNumber,  // row 1, weighted by values[e]
};

struct FieldSource {
  models::FieldSpec spec;
  SourceKind kind = SourceKind::kItemId;
  data::Side side =
      data::Side::kItem;  // whose id is e; history fields read every item of the history
  std::span<const int64_t> offsets;
  std::span<const int32_t> ids;
  std::span<const float> values;
};

class FeatureStore {
 public:
  // Throws Error naming the input whose size does not fit the data set.
  FeatureStore(const FeatureInputs& inputs, const FeatureOptions& options);
  FeatureStore(const FeatureStore&) = delete;
  FeatureStore& operator=(const FeatureStore&) = delete;

  const models::FeatureSpec& spec() const { return spec_; }
  const FeatureInputs& inputs() const { return inputs_; }
  const FeatureOptions& options() const { return options_; }
  const std::vector<FieldSource>& fields() const { return fields_; }
  const data::Rows& rows(data::Split split) const { return inputs_.rows->rows(split); }

  // Index of the example's event in the data set; 0 if no feature needs it.
  int64_t example_event(int32_t example) const {
    const std::span<const int64_t> events = inputs_.examples.event;
    return events.empty() ? 0 : events[static_cast<size_t>(example)];
  }
  // Row of the user_id table: the user, or the out-of-vocabulary row.
  int32_t user_row(int32_t user) const { return user_row_[static_cast<size_t>(user)]; }
  // The last L items before `position`, oldest first.
  std::span<const int32_t> history(int32_t user, int32_t position) const;
  // Mean text vector of those items into out [text_dim]; zeros for an empty history.
  void history_text(int32_t user, int32_t position, std::span<float> out) const;
  // The same for an example, from a table made once. [text_dim]
  void example_history_text(int32_t example, std::span<float> out) const;

 private:
  void check_inputs() const;
  int add_table(const std::string& name, int64_t vocabulary);
  void add_id_field(const std::string& name, SourceKind kind, int64_t ids);
  void add_feature_fields(data::Side side, models::FieldRole role);
  void add_history_fields();
  void find_example_events();
  void precompute_example_texts();

  FeatureInputs inputs_;
  FeatureOptions options_;
  models::FeatureSpec spec_;
  std::vector<FieldSource> fields_;
  std::vector<int64_t> example_event_;       // [N] if they had to be found
  std::vector<int32_t> user_row_;            // [num_users + 1]
  std::vector<float> example_history_text_;  // [N, text_dim]; empty if that would be too big
};

}  // namespace llmcf::train
