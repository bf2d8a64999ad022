// The distinct ids of a batch, found with bitmaps: they come out ascending without a sort or a hash
// map. No libtorch.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace llmcf::train {

// The distinct ids of a batch out of [0, size). Two levels of bits: listing costs the ids in use
// plus size / 4096.
class IdSet {
 public:
  explicit IdSet(int64_t size)
      : bits_(static_cast<size_t>(size) / 64 + 1),
        summary_(static_cast<size_t>(size) / 4096 + 1),
        place_(static_cast<size_t>(size)) {}

  void mark(int32_t id) {
    const auto index = static_cast<uint32_t>(id);
    bits_[index >> 6] |= uint64_t{1} << (index & 63);
    summary_[index >> 12] |= uint64_t{1} << ((index >> 6) & 63);
  }

  // Writes the marked ids, ascending, remembers their places and forgets the marks.
  void list(std::vector<int32_t>& ids) {
    ids.clear();
    for (size_t group = 0; group < summary_.size(); ++group) {
      for (uint64_t words = summary_[group]; words != 0; words &= words - 1) {
        const size_t word = group * 64 + static_cast<size_t>(std::countr_zero(words));
        for (uint64_t bits = bits_[word]; bits != 0; bits &= bits - 1) {
          const size_t id = word * 64 + static_cast<size_t>(std::countr_zero(bits));
          place_[id] = static_cast<int32_t>(ids.size());
          ids.push_back(static_cast<int32_t>(id));
        }
        bits_[word] = 0;
      }
      summary_[group] = 0;
    }
  }

  // Place of an id in the last list(). REQUIRES: it was marked.
  int32_t place(int32_t id) const { return place_[static_cast<size_t>(id)]; }

 private:
  std::vector<uint64_t> bits_;     // one per id
  std::vector<uint64_t> summary_;  // one per word of bits_
  std::vector<int32_t> place_;
};

}  // namespace llmcf::train
