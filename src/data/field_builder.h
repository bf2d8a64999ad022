// Collects the values of one field in the order of the input, then writes them by entity.
//
// Invariant: a vocabulary holds exactly the values of the entities that were kept, in order of
// first appearance over the entities; bucket vocabularies are in ascending order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.h"
#include "data/dataset.h"
#include "data/id_map.h"

namespace llmcf::data {

class FieldBuilder {
 public:
  explicit FieldBuilder(Field field);

  const Field& field() const { return field_; }
  const std::string& source() const { return field_.source; }

  // Whether append() can take the cell: a numeric field needs a finite number, or nothing.
  bool accepts(std::string_view cell) const;
  // The value of the next input row. REQUIRES: accepts(cell).
  void append(std::string_view cell);
  int64_t rows() const { return rows_; }

  // Arranges the values by entity: entity e has those of input row rows[e], none where it is -1.
  // Call once, after the last append().
  void finish(std::span<const int64_t> rows);

  // "a, b": the values of an entity as people read them. After finish().
  std::string joined(int64_t entity) const;
  // Adds the tensors field.<name>.*; the builder must outlive the writer's write().
  void add_to(SafetensorsWriter& writer) const;

 private:
  void append_ids(std::string_view cell);
  void append_paths(std::string_view cell);
  void append_value(std::string_view value);
  void finish_ids(std::span<const int64_t> rows);
  void finish_numbers(std::span<const int64_t> rows);
  void standardise();
  void bucketise();
  void drop_shared();

  Field field_;
  int64_t rows_ = 0;
  IdMap values_;  // input vocabulary, ids from 0
  std::vector<int64_t> offsets_ = {0};
  std::vector<int32_t> ids_;
  std::vector<float> numbers_;  // NaN where there is none
  std::vector<std::string_view> texts_;
  Arena arena_;
  StringColumnBuilder vocabulary_;
  StringColumnBuilder text_column_;
};

}  // namespace llmcf::data
