#include "train/all_items.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::train {

double hit(int64_t rank, int64_t depth) {
  return rank < depth ? 1 : 0;
}

double ndcg(int64_t rank, int64_t depth) {
  return rank < depth ? 1 / std::log2(static_cast<double>(rank) + 2) : 0;
}

double reciprocal_rank(int64_t rank, int64_t depth) {
  return rank < depth ? 1 / (static_cast<double>(rank) + 1) : 0;
}

void add_figures(std::span<const int32_t> ranks, const std::string& suffix, Figures& figures) {
  LLMCF_ASSERT(!ranks.empty());
  const auto mean = [&](double (*of)(int64_t, int64_t), int64_t depth) {
    double sum = 0;
    for (const int32_t rank : ranks)
      sum += of(rank, depth);
    return sum / static_cast<double>(ranks.size());
  };
  constexpr int64_t kDeciding = 10;
  figures.add(fmt::format("ndcg@{}{}", kDeciding, suffix), mean(ndcg, kDeciding));
  for (const int64_t depth : kDepths) {
    figures.add(fmt::format("hit@{}{}", depth, suffix), mean(hit, depth));
    if (depth != kDeciding) figures.add(fmt::format("ndcg@{}{}", depth, suffix), mean(ndcg, depth));
    figures.add(fmt::format("mrr@{}{}", depth, suffix), mean(reciprocal_rank, depth));
  }
}

}  // namespace llmcf::train
