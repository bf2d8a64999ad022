// The best columns of one query in one label group, filled while scores stream by.
//
// Invariants:
//  1. `scores` descends; columns offered earlier stay before equal ones offered later.
//  2. Unfilled slots hold column -1 and the floor, so that the last score is always the threshold.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "core/error.h"

namespace llmcf::retrieval {

// The columns of one label, latest first (ties: lower example id first).
struct ColumnInfo {
  std::span<const int32_t> user;
  std::span<const int32_t> position;
};

class Selector {
 public:
  // scores, columns: the query's slots (at least one), kept between calls. Only columns
  // [begin, end) count, and none of `user` beyond `last_position`.
  Selector(std::span<float> scores, std::span<int32_t> columns, const ColumnInfo& info)
      : scores_(scores), columns_(columns), info_(info) {
    LLMCF_ASSERT(!scores.empty() && scores.size() == columns.size());
  }

  // The floor that lets scores >= min_similarity pass: what unfilled slots start with.
  static float floor_for(double min_similarity) {
    return std::nextafter(static_cast<float>(min_similarity),
                          -std::numeric_limits<float>::infinity());
  }

  void restrict_to(int64_t begin, int64_t end, int32_t user, int32_t last_position) {
    begin_ = begin;
    end_ = end;
    user_ = user;
    last_position_ = last_position;
  }

  float threshold() const { return scores_.back(); }

  // REQUIRES: columns are offered in ascending order.
  void offer(int64_t column, float score) {
    if (!(score > threshold()) || !eligible(column)) return;
    size_t slot = scores_.size() - 1;
    for (; slot > 0 && scores_[slot - 1] < score; --slot) {
      scores_[slot] = scores_[slot - 1];
      columns_[slot] = columns_[slot - 1];
    }
    scores_[slot] = score;
    columns_[slot] = static_cast<int32_t>(column);
  }

 private:
  bool eligible(int64_t column) const {
    if (column < begin_ || column >= end_) return false;
    const auto index = static_cast<size_t>(column);
    return info_.user[index] != user_ || info_.position[index] <= last_position_;
  }

  std::span<float> scores_;
  std::span<int32_t> columns_;
  ColumnInfo info_;
  int64_t begin_ = 0;
  int64_t end_ = 0;
  int32_t user_ = 0;
  int32_t last_position_ = 0;
};

}  // namespace llmcf::retrieval
