// Memory for many small texts that live as long as their owner. Views stay valid when it moves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace llmcf::data {

class Arena {
 public:
  // Room for `size` bytes.
  char* reserve(size_t size) {
    if (size > left_) {
      const size_t chunk = std::max(size, kChunk);
      chunks_.push_back(std::make_unique<char[]>(chunk));
      next_ = chunks_.back().get();
      left_ = chunk;
    }
    char* place = next_;
    next_ += size;
    left_ -= size;
    return place;
  }

  // A copy that lives as long as the arena.
  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    char* place = reserve(text.size());
    std::memcpy(place, text.data(), text.size());
    return {place, text.size()};
  }

 private:
  static constexpr size_t kChunk = 1 << 18;

  std::vector<std::unique_ptr<char[]>> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace llmcf::data
