// h(q).h(c) of the examples of one label for one h(q): the user half of retrieval's score.
//
// Two layouts, chosen when a run is published:
//   whole   every vector is read, in half precision
//   cells   vectors lie in cells of k-means; the cells nearest to h(q) are read, in half precision,
//           and an example of another cell counts as its cell's centre until it is asked for. For
//           pools that cannot be read within a request: a million examples of 256-d are half a
//           gigabyte.
//
// Invariants:
//  1. `whole`: every product is within error() |h(q)| of the exact one.
//  2. `cells`: products of examples in cells that are read, and of those that are asked for, are
//     within half_error() |h(q)|; of the others seven in ten are within error() |h(q)|, on queries
//     like the examples' own.
//
// Tensors, for fold f and label y:
//   retrieval.scan.<f>.<y> u16           h in half precision: `whole` in column panels of 32,
//                                        `cells` in rows [columns, V], those of a cell together
//   retrieval.centres.<f>.<y> f32 [C, V]        `cells` alone: centres,
//   retrieval.cell.<f>.<y> i32 [columns]        the cell of every column,
//   retrieval.cell_begin.<f>.<y> i32 [C + 1]    a cell's rows,
//   retrieval.cell_column.<f>.<y> i32 [columns] the column of a row,
//   retrieval.cell_row.<f>.<y> i32 [columns]    and the row of a column
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "serve/arena.h"

namespace llmcf::serve {

struct ScanOptions {
  int64_t cells = 0;   // 0 = whole
  int64_t probes = 0;  // cells that a request reads

  // What suits a pool: whole up to 200,000 examples; then twice the root of their number, of which
  // one in 48 is read.
  static ScanOptions suited_to(int64_t examples);
  static int64_t probes_of(int64_t cells);
};

class HistoryScan {
 public:
  HistoryScan() = default;
  // Views into the reader's file. Throws InputError on tensors that do not fit.
  HistoryScan(const SafetensorsReader& reader, const std::string& suffix, int64_t columns,
              int64_t width, const ScanOptions& options);

  bool whole() const { return centres_.empty(); }
  // Products of h(q) [V] into out [columns, rounded up to whole panels].
  void products(const float* history, ScratchArena& arena, float* out) const;
  // Those of some columns. REQUIRES: !whole().
  void products_of(const float* history, std::span<const int32_t> columns, ScratchArena& arena,
                   float* out) const;

 private:
  void read_cells(const float* history, ScratchArena& arena, float* out) const;

  int64_t columns_ = 0, width_ = 0, probes_ = 0;
  std::span<const uint16_t> scan_;
  std::span<const float> centres_;
  std::span<const int32_t> cell_, begin_, column_, row_;
};

// The tensors of one label and fold, made when a run is published. On all threads.
class ScanTensors {
 public:
  // `history` [N, V]; `columns`: the example of every column.
  ScanTensors(std::span<const float> history, std::span<const int32_t> columns, int64_t width,
              const ScanOptions& options);

  // Valid as long as this.
  void add_to(SafetensorsWriter& writer, const std::string& suffix) const;
  float error() const { return error_; }
  float half_error() const { return half_error_; }

 private:
  void pack_whole();
  void pack_cells(const ScanOptions& options);
  // Packs a vector, its values `stride` apart, and measures what half precision takes from it.
  void put(int32_t column, uint16_t* to, int64_t stride);
  const float* vector(int64_t column) const {
    return history_.data() + static_cast<int64_t>(columns_[static_cast<size_t>(column)]) * width_;
  }
  void measure_cells(const ScanOptions& options);

  std::span<const float> history_;
  std::span<const int32_t> columns_;
  int64_t width_ = 0;
  double lost_ = 0;  // the largest length of what half precision took from a vector
  float error_ = 0, half_error_ = 0;
  std::vector<uint16_t> half_;  // scratch of put()
  std::vector<float> back_;
  std::vector<uint16_t> scan_;
  std::vector<float> centres_;
  std::vector<int32_t> cell_, begin_, column_, row_;
};

}  // namespace llmcf::serve
