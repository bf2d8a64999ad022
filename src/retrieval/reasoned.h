// Item vectors from chains of thought: an item is what was reasoned about those who chose it.
//
//   reason(i) = unit(mean over the pool's examples about item i of their CoT vectors - the mean of
//               all items' means)
//
// The third part of the similarity that finds examples, beside texts and log (collaborative.h).
// Texts say what an item is called and the log who took it; chains of thought say why, in words
// that carry over to items nobody took.
//
// Invariants:
//  1. Only examples of users that `counts` are read: with folds nobody's own chains of thought,
//     which know their decisions, shape the vectors their rows are compared by.
//  2. Items without any such example are zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace llmcf::retrieval {

// N chains of thought as vectors of width W, and whom and what they are about.
struct Reasons {
  std::span<const int32_t> user, item;  // [N]
  std::span<const float> label;         // [N]
  std::span<const float> vectors;       // [N, W]
  int64_t width() const {
    return user.empty() ? 0 : static_cast<int64_t>(vectors.size() / user.size());
  }
};

// [items, W]. `positives_only`: those about chosen items alone.
std::vector<float> reasoned_vectors(const Reasons& reasons, int64_t items, bool positives_only,
                                    const std::function<bool(int32_t user)>& counts);

}  // namespace llmcf::retrieval
