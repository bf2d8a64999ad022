// The blocked search over all queries.
//
// Queries are sorted latest first and grouped by (user, position, time): one history row serves all
// its targets. Examples stand latest first too, so what a query may see is a suffix of the columns,
// and the histories that may see anything of a chunk of columns are a prefix of the histories. Per
// slice of histories (bounded memory), label and chunk of columns: first the target table
// [distinct targets, columns], then blocks of histories: multiply, and scan each query's row of
// sums against its K best so far.
#include "retrieval/assign.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <tuple>

#include "core/progress.h"
#include "core/threads.h"
#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "retrieval/slots.h"

namespace llmcf::retrieval {

namespace {

constexpr int64_t kBlockRows = 8 * kernels::kPanelRows;  // histories (or targets) per block
constexpr int64_t kLeastChunk = 512;                     // columns of a target table, at least
constexpr int64_t kRowPadding = 16;  // floats between rows: no power-of-two stride

// Row `row` of split `part`.
struct QueryId {
  int32_t part = 0;
  int32_t row = 0;
};

// One history and its queries [first, last) in sorted order.
struct HistoryRow {
  int32_t user = 0;
  int32_t position = 0;
  int64_t time = 0;
  int64_t first = 0;
  int64_t last = 0;
};

// Histories [begin, end) and what is computed for them.
struct Slice {
  int64_t begin = 0;
  int64_t end = 0;
  std::vector<float> history;       // [end - begin, width]
  std::vector<int32_t> items;       // distinct targets in order of first use
  std::vector<int64_t> items_used;  // [end - begin] how many of them histories up to this one use
  std::vector<int32_t> target;      // per query of the slice: index into items

  int64_t size() const { return end - begin; }
};

// Columns [begin, end) of one label group (whole panels).
struct Chunk {
  int64_t begin = 0;
  int64_t end = 0;
};

class Search {
 public:
  Search(const PackedPool& pool, std::span<const Queries> parts, const Texts& texts,
         const HistoryLookup& histories, const RetrievalOptions& options,
         const AssignTuning& tuning)
      : pool_(pool),
        parts_(parts),
        texts_(texts),
        lookup_(histories),
        options_(options),
        tuning_(tuning),
        block_columns_(std::max<int64_t>(1, tuning.block_columns / kernels::kPanelColumns) *
                       kernels::kPanelColumns),
        zeros_(static_cast<size_t>(block_columns_), 0.0F) {
    sort_queries();
  }

  std::vector<Assignment> run() {
    std::vector<Assignment> results;
    for (const Queries& part : parts_)
      results.push_back(empty_assignment(part.size(), options_.k));
    Progress progress("retrieve", static_cast<int64_t>(queries_.size()), "rows");
    const auto count = static_cast<int64_t>(histories_.size());
    for (int64_t begin = 0; begin < count;) {
      const Slice slice = make_slice(begin);
      search(slice, results);
      begin = slice.end;
      progress.advance(last_query(slice) - first_query(slice));
    }
    return results;
  }

  double flops() const { return 2.0 * static_cast<double>(texts_.width) * pairs_; }

 private:
  struct Scratch {
    AlignedFloats rows;  // row panels of one block
    AlignedFloats sums;  // [kBlockRows, block_columns + padding]
  };

  void sort_queries();
  Slice make_slice(int64_t begin) const;
  void search(const Slice& slice, std::vector<Assignment>& results);
  void search_group(const Slice& slice, size_t group, BestColumns& best);
  void fill_table(const Slice& slice, const LabelGroup& group, const Chunk& chunk, int64_t items);
  void search_block(const Slice& slice, size_t group, const Chunk& chunk, int64_t begin,
                    int64_t end, Scratch& scratch, BestColumns& best);
  void scan_block(const Slice& slice, size_t group, const Chunk& chunk, const Chunk& block,
                  int64_t history, const float* sums, BestColumns& best) const;

  int64_t first_query(const Slice& slice) const {
    return histories_[static_cast<size_t>(slice.begin)].first;
  }
  int64_t last_query(const Slice& slice) const {
    return histories_[static_cast<size_t>(slice.end - 1)].last;
  }
  const HistoryRow& history_at(const Slice& slice, int64_t index) const {
    return histories_[static_cast<size_t>(slice.begin + index)];
  }
  int32_t item_of(int64_t query) const {
    const QueryId id = queries_[static_cast<size_t>(query)];
    return parts_[static_cast<size_t>(id.part)].item[static_cast<size_t>(id.row)];
  }
  bool uses_history() const { return options_.history_weight > 0; }
  bool uses_target() const { return options_.history_weight < 1; }
  void make_scratch();
  void reserve_table(int64_t items, int64_t columns);

  const PackedPool& pool_;
  std::span<const Queries> parts_;
  const Texts& texts_;
  const HistoryLookup& lookup_;
  const RetrievalOptions& options_;
  const AssignTuning tuning_;
  const int64_t block_columns_;
  const std::vector<float> zeros_;  // stands for a half without weight
  std::vector<QueryId> queries_;
  std::vector<HistoryRow> histories_;

  // Of the slice, group and chunk at hand.
  std::vector<int64_t> starts_;  // per history of the slice: its first eligible column
  AlignedFloats table_;          // [items, table_stride_]
  int64_t table_size_ = 0;
  int64_t table_stride_ = 0;
  std::vector<Scratch> scratch_;
  std::atomic<double> pairs_ = 0;  // dot products computed
};

void Search::sort_queries() {
  for (size_t part = 0; part < parts_.size(); ++part) {
    for (int64_t row = 0; row < parts_[part].size(); ++row)
      queries_.push_back({static_cast<int32_t>(part), static_cast<int32_t>(row)});
  }
  const auto key = [&](const QueryId& id) {
    const Queries& part = parts_[static_cast<size_t>(id.part)];
    const auto row = static_cast<size_t>(id.row);
    return HistoryRow{
        .user = part.user[row], .position = part.position[row], .time = part.time[row]};
  };
  std::sort(queries_.begin(), queries_.end(), [&](const QueryId& left, const QueryId& right) {
    const HistoryRow l = key(left);
    const HistoryRow r = key(right);
    return std::tie(r.time, l.user, l.position, left.part, left.row) <
           std::tie(l.time, r.user, r.position, right.part, right.row);
  });
  for (size_t i = 0; i < queries_.size(); ++i) {
    HistoryRow row = key(queries_[i]);
    const bool same = !histories_.empty() && histories_.back().user == row.user &&
                      histories_.back().position == row.position &&
                      histories_.back().time == row.time;
    if (!same) {
      row.first = static_cast<int64_t>(i);
      histories_.push_back(row);
    }
    histories_.back().last = static_cast<int64_t>(i) + 1;
  }
}

// As many histories from `begin` on as the memory limits allow, at least one.
Slice Search::make_slice(int64_t begin) const {
  const int64_t most_items =
      std::max<int64_t>(1, tuning_.table_bytes / static_cast<int64_t>(kLeastChunk * sizeof(float)));
  const int64_t most_histories = std::max<int64_t>(
      1, tuning_.history_bytes / static_cast<int64_t>(texts_.width * sizeof(float)));
  Slice slice;
  slice.begin = slice.end = begin;
  std::vector<int32_t> index_of(static_cast<size_t>(texts_.rows()), -1);
  const auto count = static_cast<int64_t>(histories_.size());
  while (slice.end < count && slice.size() < most_histories &&
         static_cast<int64_t>(slice.items.size()) < most_items) {
    const HistoryRow& history = histories_[static_cast<size_t>(slice.end++)];
    for (int64_t query = history.first; query < history.last; ++query) {
      int32_t& index = index_of[static_cast<size_t>(item_of(query))];
      if (index < 0) {
        index = static_cast<int32_t>(slice.items.size());
        slice.items.push_back(item_of(query));
      }
      slice.target.push_back(index);
    }
    slice.items_used.push_back(static_cast<int64_t>(slice.items.size()));
  }
  std::vector<int32_t> users;
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < slice.size(); ++i) {
    users.push_back(history_at(slice, i).user);
    positions.push_back(history_at(slice, i).position);
  }
  slice.history.resize(static_cast<size_t>(slice.size() * texts_.width));
  history_mean(lookup_, texts_, users, positions, 0, slice.history);
  if (options_.normalize) scale_rows_to_unit(slice.history, texts_.width);
  return slice;
}

void Search::search(const Slice& slice, std::vector<Assignment>& results) {
  BestColumns best(pool_, last_query(slice) - first_query(slice), options_.min_similarity);
  for (size_t group = 0; group < pool_.groups.size(); ++group)
    search_group(slice, group, best);
  parallel_chunks(slice.size(), 256, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const HistoryRow& history = history_at(slice, i);
      for (int64_t query = history.first; query < history.last; ++query) {
        const QueryId id = queries_[static_cast<size_t>(query)];
        const SlotSource source{.history = slice.history.data() + i * texts_.width,
                                .item = item_of(query),
                                .query = query - first_query(slice)};
        fill_slots(pool_, texts_, options_, best, source, id.row,
                   results[static_cast<size_t>(id.part)]);
      }
    }
  });
}

void Search::make_scratch() {
  scratch_.resize(static_cast<size_t>(thread_count()));
  for (Scratch& scratch : scratch_) {
    if (scratch.rows.data() != nullptr) continue;
    scratch.rows = AlignedFloats(kBlockRows * texts_.width);
    scratch.sums = AlignedFloats(kBlockRows * (block_columns_ + kRowPadding));
  }
}

void Search::reserve_table(int64_t items, int64_t columns) {
  if (!uses_target()) return;
  table_stride_ = columns + kRowPadding;
  const int64_t size = padded_rows(items) * table_stride_;
  if (size <= table_size_) return;
  table_ = AlignedFloats();  // frees the old one first
  table_ = AlignedFloats(size);
  table_size_ = size;
}

void Search::search_group(const Slice& slice, size_t group, BestColumns& best) {
  make_scratch();
  const LabelGroup& columns = pool_.groups[group];
  starts_.clear();
  for (int64_t i = 0; i < slice.size(); ++i)
    starts_.push_back(options_.time_safe ? columns.first_before(history_at(slice, i).time) : 0);
  const auto distinct = static_cast<int64_t>(slice.items.size());
  const int64_t fitting = tuning_.table_bytes / static_cast<int64_t>(distinct * sizeof(float));
  const int64_t step = std::max(kLeastChunk, fitting / block_columns_ * block_columns_);
  const int64_t end = padded_columns(columns.size());
  reserve_table(distinct, std::min(step, end));
  for (int64_t begin = starts_[0] / block_columns_ * block_columns_; begin < end; begin += step) {
    const Chunk chunk{.begin = begin, .end = std::min(end, begin + step)};
    const int64_t active =
        std::lower_bound(starts_.begin(), starts_.end(), std::min(chunk.end, columns.size())) -
        starts_.begin();
    if (active == 0) continue;
    if (uses_target())
      fill_table(slice, columns, chunk, slice.items_used[static_cast<size_t>(active - 1)]);
    parallel_chunks(active, kBlockRows, [&](int64_t first, int64_t last, int worker) {
      search_block(slice, group, chunk, first, last, scratch_[static_cast<size_t>(worker)], best);
    });
  }
}

// table_[i, c - chunk.begin] = (1 - a) t(items[i]).t(column c) for the first `items` targets.
void Search::fill_table(const Slice& slice, const LabelGroup& group, const Chunk& chunk,
                        int64_t items) {
  parallel_chunks(items, kBlockRows, [&](int64_t begin, int64_t end, int worker) {
    Scratch& scratch = scratch_[static_cast<size_t>(worker)];
    pack_rows(texts_.item_text.data(),
              std::span(slice.items)
                  .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
              texts_.width, scratch.rows.data());
    kernels::multiply({.rows = scratch.rows.data(),
                       .columns = group.target.data() + chunk.begin * texts_.width,
                       .row_panels = padded_rows(end - begin) / kernels::kPanelRows,
                       .column_panels = (chunk.end - chunk.begin) / kernels::kPanelColumns,
                       .width = texts_.width,
                       .scale = 1.0F - static_cast<float>(options_.history_weight),
                       .out = table_.data() + begin * table_stride_,
                       .stride = table_stride_});
    pairs_ += static_cast<double>((end - begin) * (chunk.end - chunk.begin));
  });
}

// Histories [begin, end) of the slice against one chunk.
void Search::search_block(const Slice& slice, size_t group, const Chunk& chunk, int64_t begin,
                          int64_t end, Scratch& scratch, BestColumns& best) {
  const int64_t width = texts_.width;
  if (uses_history()) {
    std::vector<int32_t> rows(static_cast<size_t>(end - begin));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(begin));
    pack_rows(slice.history.data(), rows, width, scratch.rows.data());
  }
  const int64_t stride = block_columns_ + kRowPadding;
  const int64_t first_panel = starts_[static_cast<size_t>(begin)] / kernels::kPanelColumns;
  Chunk block{.begin = std::max(chunk.begin, first_panel * kernels::kPanelColumns), .end = 0};
  for (; block.begin < chunk.end; block.begin = block.end) {
    block.end = std::min(chunk.end, block.begin + block_columns_);
    if (uses_history()) {
      kernels::multiply({.rows = scratch.rows.data(),
                         .columns = pool_.groups[group].history.data() + block.begin * width,
                         .row_panels = padded_rows(end - begin) / kernels::kPanelRows,
                         .column_panels = (block.end - block.begin) / kernels::kPanelColumns,
                         .width = width,
                         .scale = static_cast<float>(options_.history_weight),
                         .out = scratch.sums.data(),
                         .stride = stride});
      pairs_ += static_cast<double>((end - begin) * (block.end - block.begin));
    }
    for (int64_t i = begin; i < end; ++i) {
      const float* sums =
          uses_history() ? scratch.sums.data() + (i - begin) * stride : zeros_.data();
      scan_block(slice, group, chunk, block, i, sums, best);
    }
  }
}

// All queries of one history against one block; `sums` are its history halves.
void Search::scan_block(const Slice& slice, size_t group, const Chunk& chunk, const Chunk& block,
                        int64_t history, const float* sums, BestColumns& best) const {
  const int64_t start = starts_[static_cast<size_t>(history)];
  const int64_t begin =
      std::max(block.begin, start / kernels::kPanelColumns * kernels::kPanelColumns);
  if (begin >= block.end) return;
  const HistoryRow& row = history_at(slice, history);
  for (int64_t query = row.first; query < row.last; ++query) {
    const int64_t local = query - first_query(slice);
    const float* targets = zeros_.data();
    if (uses_target()) {
      targets = table_.data() + slice.target[static_cast<size_t>(local)] * table_stride_ +
                (begin - chunk.begin);
    }
    Selector selector = best.selector(group, local);
    selector.restrict_to(start, pool_.groups[group].size(), row.user,
                         last_own_position(options_, row.position));
    kernels::scan(sums + (begin - block.begin), targets, block.end - begin, begin, selector);
  }
}

}  // namespace

std::vector<Assignment> assign(const Pool& pool, std::span<const Queries> parts, const Texts& texts,
                               const HistoryLookup& histories, const RetrievalOptions& options,
                               const AssignTuning& tuning, AssignCost* cost) {
  const PackedPool packed(pool, texts, histories, options);
  for (const Queries& part : parts)
    check_queries(part, texts);
  Search search(packed, parts, texts, histories, options, tuning);
  std::vector<Assignment> results = search.run();
  if (cost != nullptr) cost->flops = search.flops();
  return results;
}

}  // namespace llmcf::retrieval
