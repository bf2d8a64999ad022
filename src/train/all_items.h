// How well a sequence model finds what was taken next among all items: HIT, NDCG and MRR at several
// depths, from the rank of each row's target. No libtorch.
//
// With one relevant item per row, HIT@k is recall@k, NDCG@k is 1 / log2(rank + 2) and MRR@k is
// 1 / (rank + 1) for ranks (from 0) below k, else 0; means over rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "train/trainer.h"

namespace llmcf::train {

inline constexpr std::array<int64_t, 4> kDepths = {1, 5, 10, 20};

double hit(int64_t rank, int64_t depth);
double ndcg(int64_t rank, int64_t depth);
double reciprocal_rank(int64_t rank, int64_t depth);

// "ndcg@10" first (it decides), then hit, ndcg and mrr at every depth; names get the suffix.
void add_figures(std::span<const int32_t> ranks, const std::string& suffix, Figures& figures);

}  // namespace llmcf::train
