// The file of reasoning vectors that training with KAR reads: the pool's texts about users and
// items, encoded.
//
// Invariants:
//  1. A row's user vector is made from a prefix of the history that precedes the row (knowledge.h);
//     user row 0 is exactly zero and stands for "nothing known". Item row 0 is zero, too.
//  2. Where a text is missing (a budget ran out) the next shorter prefix that has one stands in, an
//     item is zero; the file says how many.
//  3. The same pool content, rows and encoder give the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "core/safetensors.h"
#include "cot/knowledge.h"
#include "text/encoder.h"

namespace llmcf::cot {

class KnowledgeSet {
 public:
  // Throws InputError if the file is missing, damaged or of another format version.
  explicit KnowledgeSet(const std::filesystem::path& path);

  int64_t width() const { return width_; }                        // W
  std::span<const float> user_vectors() const { return users_; }  // [R, W]
  std::span<const float> item_vectors() const { return items_; }  // [num_items + 1, W]
  std::span<const int32_t> user_row(data::Split split) const;     // [rows] into [0, R)
  const std::string& reasoners() const { return reader_->metadata("reasoners"); }

 private:
  std::unique_ptr<SafetensorsReader> reader_;
  int64_t width_ = 0;
  std::span<const float> users_, items_;
};

struct KnowledgeCounts {
  int64_t users = 0;          // user texts
  int64_t items = 0;          // item texts
  int64_t rows_shorter = 0;   // rows that read a shorter prefix because a text is missing
  int64_t rows_without = 0;   // rows with a history but without any text
  int64_t items_without = 0;  // items without a text
};

// Writes the file KnowledgeSet opens.
KnowledgeCounts write_knowledge(Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                                const UserPrefixes& prefixes, const text::Encoder& encoder,
                                const std::filesystem::path& path);

}  // namespace llmcf::cot
