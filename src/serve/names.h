// Names of users, items or values and their ids, both ways, straight from the mapped bundle:
// opening builds nothing. A name's id is found by bisection of the ids in the order of their names.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.h"

namespace llmcf::serve {

class Names {
 public:
  Names() = default;
  // Columns `<name>` and `<name>.order`. Throws InputError if they are missing or do not fit.
  Names(const SafetensorsReader& reader, const std::string& name);

  int64_t size() const { return names_.size(); }  // ids are [0, size())
  std::string_view operator[](int64_t id) const { return names_[id]; }
  // The smallest id above 0 with that name.
  std::optional<int32_t> find(std::string_view name) const;

 private:
  StringColumn names_;
  std::span<const int32_t> order_;  // ids above 0, by name
};

// What the columns are made from; must outlive SafetensorsWriter::write().
class NamesBuilder {
 public:
  // Id 0 first. Call finish() after the last.
  void push_back(std::string_view name) { names_.push_back(name); }
  void finish();
  void add_to(SafetensorsWriter& writer, const std::string& name) const;

 private:
  StringColumnBuilder names_;
  std::vector<int32_t> order_;
};

}  // namespace llmcf::serve
