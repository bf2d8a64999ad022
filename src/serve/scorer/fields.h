// The embedded fields of requests and items: what of a sample belongs to which, where it lies, and
// the pooling of table rows as training does it.
//
// The constants of an item are one row of floats (tensor items.static): its embedded fields, their
// first-order sum, its mapped text, and what backbone and context add. An ItemLayout hands out the
// places.
//
//   F fields   D embedding width   M width of a mapped text
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "serve/catalogue.h"
#include "serve/kernels.h"
#include "serve/scorer/layers.h"

namespace llmcf::serve {

// Places in a row of item constants. Every part begins at a multiple of kernels::kPanel floats.
class ItemLayout {
 public:
  int64_t add(int64_t width) {
    const int64_t offset = width_;
    width_ += kernels::padded(width);
    return offset;
  }
  int64_t width() const { return width_; }

 private:
  int64_t width_ = 0;
};

// The value of a context field in a request: rows of its table, or a number.
struct ContextValue {
  std::span<const int32_t> ids;
  float number = 0;
  bool given = false;
};

// Whose fields: a user at some moment. What every candidate of a request shares.
struct Sample {
  int32_t user = 0;                       // of the bundle; 0 = unknown
  std::span<const int32_t> history;       // the last items that count, oldest first
  std::span<const ContextValue> context;  // by field (only context fields are read); may be empty
  const float* kar = nullptr;             // [W] a KAR vector instead of the user's newest
};

class FieldPlan {
 public:
  explicit FieldPlan(const Bundle& bundle, ItemLayout& layout);

  int64_t fields() const { return static_cast<int64_t>(spec_.size()); }  // F
  int64_t dim() const { return dim_; }                                   // D
  // Fields of items, of everything else; both in the order of the spec.
  const std::vector<int>& item_fields() const { return item_fields_; }
  const std::vector<int>& request_fields() const { return request_fields_; }
  bool is_item(int field) const {
    return spec_[static_cast<size_t>(field)].spec.role == models::FieldRole::kItem;
  }
  bool first_order() const { return first_order_; }

  // Columns of a layer that reads all fields in order, then `context` more values.
  SplitColumns columns(int64_t context) const;

  // [item fields, D] at `fields_at` and the first-order sum at `first_order_at` of a row.
  int64_t fields_at() const { return fields_at_; }
  int64_t first_order_at() const { return first_order_at_; }
  void fill_item(const Catalogue& catalogue, int32_t row, float* constants) const;

  // fields [request fields, D]; returns the first-order sum.
  float fill_request(const Catalogue& catalogue, const Sample& sample, float* fields) const;

 private:
  struct Table {
    std::span<const float> values, first_order;
    int64_t rows = 0;
  };
  // Adds rows to sums; returns how many.
  struct Pooling;
  int32_t item_row(const Catalogue& catalogue, const Table& table, int32_t row) const;

  std::vector<BundleField> spec_;
  std::vector<Table> tables_;
  std::vector<int> item_fields_, request_fields_;
  int64_t dim_ = 0;
  bool first_order_ = false;
  bool paper_ = false;
  int64_t fields_at_ = 0, first_order_at_ = 0;
};

}  // namespace llmcf::serve
