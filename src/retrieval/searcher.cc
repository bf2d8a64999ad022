// One request: the user half once per block of columns, the candidates' halves block by block.
#include "retrieval/searcher.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "retrieval/slots.h"

namespace llmcf::retrieval {

namespace {

constexpr int64_t kBlockColumns = 1024;
constexpr int64_t kBlockRows = 8 * kernels::kPanelRows;  // candidates per block

// Vectors packed into row panels; `rows` as in pack_rows.
AlignedFloats packed_rows(const float* source, std::span<const int32_t> rows, int64_t width) {
  AlignedFloats packed(padded_rows(static_cast<int64_t>(rows.size())) * width);
  pack_rows(source, rows, width, packed.data());
  return packed;
}

// The halves of the scores of one block of columns: [rows, kBlockColumns]; zeros without weight.
class Halves {
 public:
  Halves(AlignedFloats rows, int64_t count, int64_t width, float weight)
      : rows_(std::move(rows)), count_(count), width_(width), weight_(weight) {
    out_ = AlignedFloats(std::min(kBlockRows, padded_rows(count)) * kBlockColumns);
    if (weight == 0) std::fill_n(out_.data(), kBlockColumns, 0.0F);
  }

  // Rows [first, first + count) against `columns` columns at `vectors`; first: whole panels.
  void compute(const float* vectors, int64_t columns, int64_t first, int64_t count) {
    if (weight_ == 0) return;
    kernels::multiply({.rows = rows_.data() + first * width_,
                       .columns = vectors,
                       .row_panels = padded_rows(count) / kernels::kPanelRows,
                       .column_panels = columns / kernels::kPanelColumns,
                       .width = width_,
                       .scale = weight_,
                       .out = out_.data(),
                       .stride = kBlockColumns});
  }
  int64_t count() const { return count_; }
  const float* row(int64_t index) const {
    return out_.data() + (weight_ == 0 ? 0 : index * kBlockColumns);
  }

 private:
  AlignedFloats rows_;
  AlignedFloats out_;
  int64_t count_;
  int64_t width_;
  float weight_;
};

void check_request(const Request& request, std::span<const int32_t> candidates,
                   const Texts& texts) {
  if (static_cast<int64_t>(request.history.size()) != texts.width) {
    throw Error(fmt::format("retrieval: the request's history vector has {} values, expected {}",
                            request.history.size(), texts.width));
  }
  for (const int32_t item : candidates) {
    if (item < 0 || item >= texts.rows()) {
      throw Error(fmt::format("retrieval: candidate {} is outside [0, {})", item, texts.rows()));
    }
  }
}

}  // namespace

struct Searcher::State {
  Texts texts;
  RetrievalOptions options;
  PackedPool pool;

  void search_group(size_t index, const Request& request, Halves& user, Halves& items,
                    BestColumns& best) const;
};

// Offers the eligible columns of one label to all candidates.
void Searcher::State::search_group(size_t index, const Request& request, Halves& user,
                                   Halves& items, BestColumns& best) const {
  const LabelGroup& group = pool.groups[index];
  const int64_t start = options.time_safe ? group.first_before(request.time) : 0;
  if (start == group.size()) return;
  const int64_t end = padded_columns(group.size());
  const int32_t own = last_own_position(options, request.position);
  for (int64_t column = start / kernels::kPanelColumns * kernels::kPanelColumns; column < end;
       column += kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, end - column);
    user.compute(group.history.data() + column * texts.width, columns, 0, 1);
    for (int64_t first = 0; first < items.count(); first += kBlockRows) {
      const int64_t rows = std::min(kBlockRows, items.count() - first);
      items.compute(group.target.data() + column * texts.width, columns, first, rows);
      for (int64_t i = 0; i < rows; ++i) {
        Selector selector = best.selector(index, first + i);
        selector.restrict_to(start, group.size(), request.user, own);
        kernels::scan(user.row(0), items.row(i), columns, column, selector);
      }
    }
  }
}

Searcher::Searcher(const Pool& pool, const Texts& texts, const HistoryLookup& histories,
                   const RetrievalOptions& options)
    : state_(new State{texts, options, PackedPool(pool, texts, histories, options)}) {}
Searcher::~Searcher() = default;
Searcher::Searcher(Searcher&&) noexcept = default;
Searcher& Searcher::operator=(Searcher&&) noexcept = default;

Assignment Searcher::search(const Request& request, std::span<const int32_t> candidates) const {
  const State& s = *state_;
  check_request(request, candidates, s.texts);
  const auto count = static_cast<int64_t>(candidates.size());
  std::vector<float> history(request.history.begin(), request.history.end());
  if (s.options.normalize) scale_rows_to_unit(history, s.texts.width);
  BestColumns best(s.pool, count, s.options.min_similarity);
  const auto weight = static_cast<float>(s.options.history_weight);
  Halves user(packed_rows(history.data(), std::vector<int32_t>{0}, s.texts.width), 1, s.texts.width,
              weight);
  Halves items(packed_rows(s.texts.item_text.data(), candidates, s.texts.width), count,
               s.texts.width, 1.0F - weight);
  for (size_t group = 0; group < s.pool.groups.size(); ++group)
    s.search_group(group, request, user, items, best);
  Assignment result = empty_assignment(count, s.options.k);
  for (int64_t i = 0; i < count; ++i) {
    const SlotSource source{
        .history = history.data(), .item = candidates[static_cast<size_t>(i)], .query = i};
    fill_slots(s.pool, s.texts, s.options, best, source, i, result);
  }
  return result;
}

}  // namespace llmcf::retrieval
