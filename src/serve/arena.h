// Memory of one request: bump allocation of arrays that nobody frees. After the first requests of a
// thread nothing is allocated any more.
//
// Invariants:
//  1. Arrays stay valid until reset(); they begin at multiples of 64 bytes and hold garbage.
//  2. What a Scope's life allocated is free again after it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

namespace llmcf::serve {

class ScratchArena {
 public:
  ScratchArena() = default;
  ScratchArena(const ScratchArena&) = delete;
  ScratchArena& operator=(const ScratchArena&) = delete;

  template <typename T>
  T* array(int64_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    return reinterpret_cast<T*>(
        bytes(static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T)));
  }
  template <typename T>
  std::span<T> span(int64_t count) {
    return {array<T>(count), static_cast<size_t>(count)};
  }
  float* floats(int64_t count) { return array<float>(count); }
  float* zeros(int64_t count) {
    float* result = floats(count);
    std::fill_n(result, count, 0.0F);
    return result;
  }

  // Forgets every array. Several blocks become one that is as large as all of them.
  void reset() {
    if (blocks_.size() > 1) {
      size_t total = 0;
      for (const Block& block : blocks_)
        total += block.size;
      blocks_.clear();
      add(total);
    }
    block_ = 0;
    used_ = 0;
  }

  class Scope {
   public:
    explicit Scope(ScratchArena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ScratchArena& arena_;
    size_t block_, used_;
  };

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kLeastBlock = size_t{1} << 20;

  struct Free {
    void operator()(std::byte* data) const {
      ::operator delete[](data, std::align_val_t{kAlignment});
    }
  };
  struct Block {
    std::unique_ptr<std::byte[], Free> data;
    size_t size = 0;
  };

  void add(size_t size) {
    blocks_.push_back({std::unique_ptr<std::byte[], Free>(static_cast<std::byte*>(
                           ::operator new[](size, std::align_val_t{kAlignment}))),
                       size});
  }
  std::byte* bytes(size_t wanted) {
    const size_t size = (wanted + kAlignment - 1) / kAlignment * kAlignment;
    while (block_ < blocks_.size() && used_ + size > blocks_[block_].size) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      add(std::max(size, std::max(kLeastBlock, blocks_.empty() ? 0 : 2 * blocks_.back().size)));
      used_ = 0;
    }
    std::byte* place = blocks_[block_].data.get() + used_;
    used_ += size;
    return place;
  }

  std::vector<Block> blocks_;
  size_t block_ = 0;  // the one in use
  size_t used_ = 0;   // of it
};

}  // namespace llmcf::serve
