#include "data/id_map.h"

#define XXH_INLINE_ALL
#include <limits>

#include <xxhash.h>

#include "core/error.h"

namespace llmcf::data {

namespace {

uint64_t hash_of(std::string_view key) {
  return XXH3_64bits(key.data(), key.size());
}

}  // namespace

IdMap::IdMap() : slots_(64) {}

// The slot that holds `key`, or the empty one where it belongs.
size_t IdMap::place(std::string_view key, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id < 0 || (slot.hash == tag && keys_[static_cast<size_t>(slot.id)] == key)) return at;
  }
}

int32_t IdMap::insert(std::string_view key) {
  const uint64_t hash = hash_of(key);
  size_t at = place(key, hash);
  if (slots_[at].id >= 0) return slots_[at].id;
  if ((keys_.size() + 1) * 5 > slots_.size() * 3) {
    grow();
    at = place(key, hash);
  }
  if (keys_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) - 1)
    throw Error("more than 2^31 - 2 distinct texts in one column");
  const auto id = static_cast<int32_t>(keys_.size());
  slots_[at] = {static_cast<uint32_t>(hash >> 32), id};
  keys_.push_back(arena_.copy(key));
  return id;
}

std::optional<int32_t> IdMap::find(std::string_view key) const {
  const Slot& slot = slots_[place(key, hash_of(key))];
  if (slot.id < 0) return std::nullopt;
  return slot.id;
}

void IdMap::grow() {
  slots_.assign(slots_.size() * 2, Slot());
  for (size_t id = 0; id < keys_.size(); ++id) {
    const uint64_t hash = hash_of(keys_[id]);
    slots_[place(keys_[id], hash)] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(id)};
  }
}

}  // namespace llmcf::data
