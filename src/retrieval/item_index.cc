#include "retrieval/item_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/kernels.h"

namespace llmcf::retrieval {

namespace {

constexpr int64_t kBlockQueries = 16 * kernels::kPanelRows;
constexpr int64_t kBlockItems = 16 * kernels::kPanelColumns;

// The k best of one query, best first; equal scores in the order they came.
class Best {
 public:
  Best(std::span<float> scores, std::span<int32_t> items) : scores_(scores), items_(items) {
    std::fill(scores.begin(), scores.end(), -std::numeric_limits<float>::infinity());
    std::fill(items.begin(), items.end(), 0);
  }
  float threshold() const { return scores_.back(); }
  void offer(int32_t item, float score) {
    if (!(score > threshold())) return;
    size_t place = scores_.size() - 1;
    for (; place > 0 && scores_[place - 1] < score; --place) {
      scores_[place] = scores_[place - 1];
      items_[place] = items_[place - 1];
    }
    scores_[place] = score;
    items_[place] = item;
  }

 private:
  std::span<float> scores_;
  std::span<int32_t> items_;
};

}  // namespace

std::vector<int32_t> distinct_items(std::span<const int32_t> items) {
  std::vector<int32_t> result(items.begin(), items.end());
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

BestItems::BestItems(int64_t queries, int64_t wanted)
    : k(wanted < 1 ? throw Error(fmt::format("item index: k is {}, expected at least 1", wanted))
                   : wanted),
      items(static_cast<size_t>(queries * k)),
      scores(items.size()) {}

BestItems BestItems::first(int64_t queries) const {
  BestItems result(queries, k);
  std::copy_n(items.begin(), result.items.size(), result.items.begin());
  std::copy_n(scores.begin(), result.scores.size(), result.scores.begin());
  return result;
}

ItemIndex::ItemIndex(std::span<const float> vectors, int64_t width)
    : items_(static_cast<int64_t>(vectors.size()) / width - 1),
      width_(width),
      rows_(vectors.begin(), vectors.end()),
      columns_(padded_columns(items_) * width) {
  if (width < 1 || items_ < 1 || static_cast<int64_t>(vectors.size()) != (items_ + 1) * width)
    throw Error(fmt::format("item index: {} values are no rows of {}", vectors.size(), width));
  std::vector<int32_t> order(static_cast<size_t>(items_));
  std::iota(order.begin(), order.end(), 1);
  const int64_t panels = padded_columns(items_) / kernels::kPanelColumns;
  parallel_for(panels, 64, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kernels::kPanelColumns;
    const int64_t last = std::min(items_, end * kernels::kPanelColumns);
    pack_columns(
        rows_.data(),
        std::span(order).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first)),
        width_, columns_.data() + first * width_);
  });
}

int64_t ItemIndex::count(std::span<const float> queries) const {
  const int64_t Q = static_cast<int64_t>(queries.size()) / width_;
  if (Q * width_ != static_cast<int64_t>(queries.size()))
    throw Error(fmt::format("item index: {} values are no vectors of {}", queries.size(), width_));
  return Q;
}

// The chain of the kernel: one fused multiply-add per element, in order.
float ItemIndex::score(const float* query, int32_t item) const {
  const float* vector = rows_.data() + item * width_;
  float sum = 0;
  for (int64_t i = 0; i < width_; ++i)
    sum = std::fma(query[i], vector[i], sum);
  return sum;
}

template <typename Body>
void ItemIndex::scan(std::span<const float> queries, int64_t first, int64_t count,
                     const Body& body) const {
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), static_cast<int32_t>(first));
  AlignedFloats rows(padded_rows(count) * width_);
  pack_rows(queries.data(), order, width_, rows.data());
  AlignedFloats scores(padded_rows(count) * kBlockItems);
  for (int64_t item = 0; item < items_; item += kBlockItems) {
    const int64_t columns = std::min(kBlockItems, padded_columns(items_ - item));
    kernels::multiply({.rows = rows.data(),
                       .columns = columns_.data() + item * width_,
                       .row_panels = padded_rows(count) / kernels::kPanelRows,
                       .column_panels = columns / kernels::kPanelColumns,
                       .width = width_,
                       .scale = 1,
                       .out = scores.data(),
                       .stride = kBlockItems});
    const int64_t real = std::min(columns, items_ - item);
    for (int64_t row = 0; real < columns && row < count; ++row)  // padded columns score nothing
      std::fill(scores.data() + row * kBlockItems + real,
                scores.data() + row * kBlockItems + columns,
                -std::numeric_limits<float>::infinity());
    body(static_cast<int32_t>(item + 1), columns / kernels::kPanelColumns, scores.data());
  }
}

TargetRanks ItemIndex::ranks(std::span<const float> queries, std::span<const int32_t> targets,
                             const SeenItems& seen) const {
  const int64_t Q = count(queries);
  if (static_cast<int64_t>(targets.size()) != Q)
    throw Error(fmt::format("item index: {} targets for {} queries", targets.size(), Q));
  TargetRanks ranks{.all = std::vector<int32_t>(static_cast<size_t>(Q)), .unseen = {}};
  std::vector<float> own(static_cast<size_t>(Q));
  for (int64_t query = 0; query < Q; ++query) {
    const int32_t target = targets[static_cast<size_t>(query)];
    if (target < 1 || target > items_)
      throw Error(fmt::format("item index: target {} is not in [1, {}]", target, items_));
    float& score_of_target = own[static_cast<size_t>(query)];
    score_of_target = score(queries.data() + query * width_, target);
    if (std::isnan(score_of_target))
      throw Error(fmt::format("item index: the score of query {} is not a number", query));
  }
  // Equal scores count if their item comes first: above the next float below the target's.
  parallel_chunks(Q, kBlockQueries, [&](int64_t begin, int64_t end, int) {
    scan(queries, begin, end - begin, [&](int32_t first, int64_t panels, const float* scores) {
      for (int64_t query = begin; query < end; ++query) {
        const auto index = static_cast<size_t>(query);
        const float limit = own[index];
        const float tie = std::nextafter(limit, -std::numeric_limits<float>::infinity());
        const float* row = scores + (query - begin) * kBlockItems;
        const int64_t before =  // whole panels whose items all come before the target
            std::clamp<int64_t>((targets[index] - first) / kernels::kPanelColumns, 0, panels);
        int64_t above = kernels::count_above(row, before, tie);
        int64_t panel = before;
        if (panel < panels && targets[index] >= first) {  // the target's own panel
          for (int64_t i = 0; i < kernels::kPanelColumns; ++i) {
            const int64_t column = panel * kernels::kPanelColumns + i;
            const auto item = static_cast<int32_t>(first + column);
            above += item < targets[index] ? row[column] > tie
                                           : item > targets[index] && row[column] > limit;
          }
          ++panel;
        }
        above += kernels::count_above(row + panel * kernels::kPanelColumns, panels - panel, limit);
        ranks.all[index] += static_cast<int32_t>(above);
      }
    });
  });
  ranks.unseen = ranks.all;
  if (!seen) return ranks;
  parallel_for(Q, 256, [&](int64_t begin, int64_t end) {
    for (int64_t query = begin; query < end; ++query) {
      const auto index = static_cast<size_t>(query);
      for (const int32_t item : distinct_items(seen(query))) {
        if (item == targets[index]) continue;
        const float other = score(queries.data() + query * width_, item);
        const bool before = other > own[index] || (other == own[index] && item < targets[index]);
        ranks.unseen[index] -= before;
      }
    }
  });
  return ranks;
}

BestItems ItemIndex::best(std::span<const float> queries, int64_t k, const SeenItems& seen) const {
  const int64_t Q = count(queries);
  BestItems result(Q, k);
  parallel_chunks(Q, kBlockQueries, [&](int64_t begin, int64_t end, int) {
    std::vector<Best> best;
    std::vector<std::vector<int32_t>> left_out;
    for (int64_t query = begin; query < end; ++query) {
      const auto at = static_cast<size_t>(query * k);
      best.emplace_back(std::span(result.scores).subspan(at, static_cast<size_t>(k)),
                        std::span(result.items).subspan(at, static_cast<size_t>(k)));
      left_out.push_back(seen ? distinct_items(seen(query)) : std::vector<int32_t>());
    }
    scan(queries, begin, end - begin, [&](int32_t first, int64_t panels, const float* scores) {
      for (int64_t query = begin; query < end; ++query) {
        const auto row = static_cast<size_t>(query - begin);
        const float* of = scores + (query - begin) * kBlockItems;
        Best& list = best[row];
        const auto& hidden = left_out[row];
        for (int64_t panel = 0; panel < panels; ++panel) {
          panel += kernels::first_above(of + panel * kernels::kPanelColumns, panels - panel,
                                        list.threshold());
          if (panel == panels) break;
          for (int64_t i = 0; i < kernels::kPanelColumns; ++i) {
            const int64_t column = panel * kernels::kPanelColumns + i;
            const auto item = static_cast<int32_t>(first + column);
            if (!(of[column] > list.threshold())) continue;
            if (std::binary_search(hidden.begin(), hidden.end(), item)) continue;
            list.offer(item, of[column]);
          }
        }
      }
    });
  });
  for (size_t i = 0; i < result.items.size(); ++i)
    if (result.items[i] == 0) result.scores[i] = 0;
  return result;
}

}  // namespace llmcf::retrieval
