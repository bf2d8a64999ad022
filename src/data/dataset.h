// A data set: users, items, their features and the events between them, as columns of one mmapped,
// checksummed safetensors file. Opening it verifies the checksums and copies nothing; histories are
// slices.
//
// Invariants:
//  1. Ids start at 1; 0 pads. User ids are [1, num_users()] in order of first appearance in the
//     interactions; item ids are [1, num_items()] in the order of the catalogue.
//  2. Events are grouped by user and ordered by time within a user; ties keep the order of the
//     input.
//  3. Vocabularies hold every value of the catalogue; id 0 is "no value". The out-of-vocabulary row
//     is the model's affair: it is row `vocabulary_size()` of a table with vocabulary_size() + 1
//     rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.h"

namespace llmcf::data {

enum class Side { kUser, kItem, kContext };
enum class Kind { kCategorical, kMultiCategorical, kNumeric, kText };

// One feature of the schema. user_id and item_id are implicit: they are not in the list of fields.
struct Field {
  std::string name;  // e.g. "brand"
  Side side = Side::kItem;
  Kind kind = Kind::kCategorical;
  std::string source;  // column of the input; empty = name
  bool history =
      true;  // item side, categorical kinds: also pooled over the user's history ("hist_<name>")
  // numeric only: 0 = standardised (mean 0, variance 1); n > 0 = n quantile buckets, stored as
  // kCategorical ids.
  int buckets = 0;
  char separator = '|';  // multi-categorical only: between values in the input
  // multi-categorical only: the input holds paths, "A > B || A > C"; every level is a value.
  bool paths = false;
  // multi-categorical only: a value that every entity with a value carries says nothing (the root
  // of a catalogue) and is left out.
  bool drop_shared = false;
};

std::string_view side_name(Side side);  // "user", "item", "context"
std::string_view kind_name(Kind kind);  // "categorical", "multi_categorical", "numeric", "text"

// The values of one field by entity: by user id (num_users() + 1 entities, 0 is empty), by item id
// (num_items() + 1, 0 is empty) or by event index (context, num_events()). Entity e's values are
// ids[offsets[e], offsets[e + 1]) (categorical kinds), values[e] (numeric) or text[e].
struct FieldColumn {
  Field field;
  std::span<const int64_t> offsets;  // [entities + 1]; empty for numeric and text
  std::span<const int32_t> ids;      // in [1, vocabulary_size()): "no value" is an empty slice
  std::span<const float> values;     // [entities], standardised; NaN-free (missing = 0)
  StringColumn vocabulary;           // name of id i at index i; index 0 is ""
  StringColumn text;                 // kText only, by entity
  // Rows of an embedding table without the out-of-vocabulary row; row 0 is included.
  int64_t vocabulary_size() const { return vocabulary.size(); }
};

class Dataset {
 public:
  // Throws InputError if the file is missing, damaged or of another format version.
  explicit Dataset(const std::filesystem::path& path);

  int64_t num_users() const;
  int64_t num_items() const;
  int64_t num_events() const;
  const std::string& name() const;

  // [num_users + 2]; user u's events are [offsets[u], offsets[u + 1]).
  std::span<const int64_t> user_offsets() const { return user_offsets_; }
  std::span<const int32_t> event_item() const { return event_item_; }  // [num_events]
  std::span<const int64_t> event_time() const { return event_time_; }  // [num_events], Unix seconds
  std::span<const float> event_rating() const {
    return event_rating_;
  }  // [num_events], empty if implicit

  std::string_view user_name(int64_t user) const { return user_names_[user]; }  // the input's id
  std::string_view item_name(int64_t item) const { return item_names_[item]; }
  std::string_view item_title(int64_t item) const { return item_titles_[item]; }
  // What encoders and prompts read: "title: ...; brand: ...; category: a, b" from the schema's item
  // fields.
  std::string_view item_text(int64_t item) const { return item_texts_[item]; }

  const std::vector<FieldColumn>& fields() const { return fields_; }
  // The field of that name, or null.
  const FieldColumn* find_field(std::string_view name) const;

 private:
  std::unique_ptr<SafetensorsReader> reader_;
  std::string name_;
  std::span<const int64_t> user_offsets_;
  std::span<const int32_t> event_item_;
  std::span<const int64_t> event_time_;
  std::span<const float> event_rating_;
  StringColumn user_names_, item_names_, item_titles_, item_texts_;  // index 0 is ""
  std::vector<FieldColumn> fields_;
};

}  // namespace llmcf::data
