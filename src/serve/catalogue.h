// The items that a request may name: those of the bundle and those that were added while serving.
// An item is known by its row: [1, I] are the bundle's, I + 1, ... were added.
//
// Invariants:
//  1. A catalogue never changes: adding an item makes a new one that shares everything with the old
//     one. A request uses one catalogue from start to end.
//  2. An added item that has the name of a bundle's item takes its place under the name; its row is
//     a new one, so that histories and examples keep what they were made from.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/bundle.h"

namespace llmcf::serve {

// The static list of an item for one label: groups of the label (example_search.h), most similar
// first, and their similarities. It lies in parts, the first parts of all items side by side: most
// requests read no further, and what they read is compact.
struct Neighbours {
  static constexpr int64_t kPart = 32;  // entries
  const int32_t* group = nullptr;       // of the first part
  const float* similarity = nullptr;
  int64_t length = 0;
  int64_t stride = kPart;  // from part to part

  const int32_t* groups_from(int64_t begin) const { return group + begin / kPart * stride; }
  const float* similarities_from(int64_t begin) const {
    return similarity + begin / kPart * stride;
  }
  float last_similarity() const { return similarities_from(length - 1)[(length - 1) % kPart]; }
  // Of a list this long; the tensors are [parts, items, kPart].
  static int64_t parts(int64_t length) { return (length + kPart - 1) / kPart; }
};

// What the bundle holds of its own items, for one that was added.
struct AddedItem {
  std::string name, title;
  std::vector<std::vector<int32_t>> ids;    // by field: rows of its table
  std::vector<float> text;                  // [W]
  std::vector<float> constants;             // a row of items.static
  std::vector<std::vector<float>> vectors;  // by fold [V]
  struct List {
    std::vector<int32_t> group;
    std::vector<float> similarity;
  };
  std::vector<List> lists;  // [fold * 2 + label]
};

class Catalogue {
 public:
  explicit Catalogue(std::shared_ptr<const Bundle> bundle);

  const Bundle& bundle() const { return *bundle_; }
  int64_t rows() const { return items_ + 1 + static_cast<int64_t>(added_.size()); }
  int64_t added() const { return static_cast<int64_t>(added_.size()); }
  bool is_added(int32_t row) const { return row > items_; }

  std::optional<int32_t> find(std::string_view name) const;
  std::string_view name(int32_t row) const;
  std::string_view title(int32_t row) const;
  // Rows of field `field`'s table; numbers have none.
  std::span<const int32_t> ids_of(size_t field, int32_t row) const;
  // [W]; zeros for row 0. REQUIRES: the bundle has texts.
  const float* text(int32_t row) const;
  const float* constants(int32_t row) const {
    return is_added(row) ? of_added(row).constants.data() : constants_.data() + row * width_;
  }
  const float* vector(int64_t fold, int32_t row) const {
    return is_added(row) ? of_added(row).vectors[static_cast<size_t>(fold)].data()
                         : vectors_[static_cast<size_t>(fold)].data() + row * retrieval_width_;
  }
  Neighbours neighbours(int64_t fold, int label, int32_t row) const;

  // A catalogue that has these items too, and the row of each. One that was added under the same
  // name before gives its row to the new one.
  std::shared_ptr<const Catalogue> with(std::span<const std::shared_ptr<AddedItem>> items,
                                        std::vector<int32_t>& rows) const;

 private:
  const AddedItem& of_added(int32_t row) const {
    return *added_[static_cast<size_t>(row - items_ - 1)];
  }

  std::shared_ptr<const Bundle> bundle_;
  int64_t items_ = 0;
  int64_t width_ = 0;  // of a row of constants
  int64_t retrieval_width_ = 0;
  std::span<const float> constants_;             // [I + 1, width]; empty before it is made
  std::vector<std::span<const float>> vectors_;  // by fold [I + 1, V]
  struct Lists {
    std::span<const int32_t> group;
    std::span<const float> similarity;
    int64_t length = 0;
  };
  std::vector<Lists> lists_;  // [fold * 2 + label]
  std::vector<std::shared_ptr<const AddedItem>> added_;
  std::map<std::string, int32_t, std::less<>> added_rows_;
};

}  // namespace llmcf::serve
