// The records of one block, cut into cells.
//
// Invariants:
//  1. Cell (r, c) is cells[r * columns + c]; an empty cell has no value.
//  2. A cell that was a list begins with kListMark and has one before each element.
//  3. lines[r] is the line where record r begins, or 0 if the record was found bad and is void.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/arena.h"
#include "data/block_reader.h"
#include "data/faults.h"

namespace llmcf::data {

inline constexpr char kListMark = '\x1f';  // ASCII unit separator

struct Batch {
  Block block;
  Arena arena;  // texts that are not slices of the block
  size_t columns = 0;
  std::vector<std::string_view> cells;
  std::vector<int64_t> lines;
  std::vector<BadRow> bad;
  std::vector<uint8_t> seen;  // [columns], 1 where a record had the key (formats without header)

  // Filled by the importer of interactions, by record.
  std::vector<int64_t> times;
  std::vector<float> ratings;

  size_t rows() const { return lines.size(); }
  std::string_view cell(size_t row, size_t column) const { return cells[row * columns + column]; }
  void reject(size_t row, Fault fault, std::string reason) {
    bad.push_back({lines[row], fault, std::move(reason)});
    lines[row] = 0;
  }
};

// Cuts records into cells. parse() may run on several threads at once.
class RecordParser {
 public:
  virtual ~RecordParser() = default;
  // Fills cells, lines, bad and seen from block; `columns` is set.
  virtual void parse(Batch& batch) const = 0;
};

}  // namespace llmcf::data
