// Texts to dense numbers in order of first appearance, from 0. Open addressing over XXH3; the texts
// lie in one arena.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "data/arena.h"

namespace llmcf::data {

class IdMap {
 public:
  IdMap();

  // The number of `key`, a new one if it is not known yet. Throws Error beyond 2^31 - 2 keys.
  int32_t insert(std::string_view key);
  std::optional<int32_t> find(std::string_view key) const;
  int64_t size() const { return static_cast<int64_t>(keys_.size()); }
  std::string_view operator[](int64_t id) const { return keys_[static_cast<size_t>(id)]; }

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };
  size_t place(std::string_view key, uint64_t hash) const;
  void grow();

  std::vector<Slot> slots_;  // a power of two, at most 3/5 full
  std::vector<std::string_view> keys_;
  Arena arena_;
};

}  // namespace llmcf::data
