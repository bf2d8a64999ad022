// Mean text vectors of histories.
//
// Invariants:
//  1. Output row i is the float sum, oldest item first, of the text vectors of its history's items,
//     times the float 1 / count; zeros for an empty history. It depends on nothing else in the call
//     and not on the number of threads.
//  2. The mean is not normalised again; scale_rows_to_unit() does that where it is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "data/rows.h"

namespace llmcf::retrieval {

// The frozen text vectors of the catalogue: [num_items + 1, width] row-major, rows of unit length
// (or zero); row 0 is zeros.
struct Texts {
  std::span<const float> item_text;
  int64_t width = 0;

  std::span<const float> row(int32_t item) const {
    return item_text.subspan(static_cast<size_t>(item) * static_cast<size_t>(width),
                             static_cast<size_t>(width));
  }
  int64_t rows() const { return width == 0 ? 0 : static_cast<int64_t>(item_text.size()) / width; }
};

// (user, position) -> the first `position` items of the user's history, oldest first. A shorter
// history of the same user must be a prefix of a longer one. Called from several threads.
using HistoryLookup = std::function<std::span<const int32_t>(int32_t user, int32_t position)>;

// `rows` must outlive the result.
inline HistoryLookup histories_of(const data::RowSet& rows) {
  return [&rows](int32_t user, int32_t position) { return rows.history(user, position); };
}

// Mean over the last `limit` items of every history (0 = over all of it).
//   users, positions  [n]
//   out               [n, width] row-major, overwritten
// With limit 0 a user's histories share one running sum; with a limit each costs at most `limit`
// rows.
void history_mean(const HistoryLookup& histories, const Texts& texts,
                  std::span<const int32_t> users, std::span<const int32_t> positions, int64_t limit,
                  std::span<float> out);

// Scales every row of a matrix to unit length; zeros stay zeros. Row i depends on nothing else.
void scale_rows_to_unit(std::span<float> matrix, int64_t width);

}  // namespace llmcf::retrieval
