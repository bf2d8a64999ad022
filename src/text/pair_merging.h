// The loop of byte-pair encoding (Sennrich et al. 2016): the best pair of neighbours is merged
// until none is left. A queue of candidates makes it O(n log n), so that a piece may be megabytes
// long.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

namespace llmcf::text {

struct MergedPair {
  double rank = 0;  // lower merges first; of equal ranks the leftmost pair
  int32_t id = 0;
};

// `merge(left, right)`: what two neighbouring ids become, or nothing. `ids` is replaced by what is
// left.
template <typename Merge>
void merge_pairs(std::vector<int32_t>& ids, const Merge& merge) {
  struct Symbol {
    int32_t id = -1;  // -1 = merged away
    int64_t previous = -1, next = -1;
  };
  struct Candidate {
    double rank = 0;
    int64_t left = 0;
    int32_t left_id = 0, right_id = 0, merged = 0;  // as when it was queued
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto count = static_cast<int64_t>(ids.size());
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size());
  for (int64_t i = 0; i < count; ++i)
    symbols.push_back({ids[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto at = [&](int64_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto offer = [&](int64_t left) {
    if (left < 0 || at(left).next < 0) return;
    const int32_t a = at(left).id, b = at(at(left).next).id;
    if (const std::optional<MergedPair> merged = merge(a, b))
      queue.push({merged->rank, left, a, b, merged->id});
  };
  for (int64_t i = 0; i < count; ++i)
    offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.left);
    if (left.id != best.left_id || left.next < 0 || at(left.next).id != best.right_id) continue;
    Symbol& right = at(left.next);
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  ids.clear();
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

}  // namespace llmcf::text
