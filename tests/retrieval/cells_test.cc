// Cells of k-means: well separated clusters are found, every row is in the closest cell.
#include "retrieval/cells.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "core/threads.h"

namespace llmcf::retrieval {
namespace {

// Five clusters of 2-d points, far from each other.
std::vector<float> points() {
  Random random(3, "cells");
  std::vector<float> rows;
  for (int i = 0; i < 500; ++i) {
    rows.push_back(static_cast<float>(10 * (i % 5) + random.normal()));
    rows.push_back(static_cast<float>(random.normal()));
  }
  return rows;
}

TEST(Cells, RowsAreInTheClosestCell) {
  const auto rows = points();
  const Cells cells = make_cells(rows, 2, 5, 1);
  ASSERT_EQ(cells.count(), 5);
  ASSERT_EQ(cells.of.size(), 500U);
  const auto distance = [&](size_t row, int64_t cell) {
    double sum = 0;
    for (size_t k = 0; k < 2; ++k) {
      const double difference =
          rows[row * 2 + k] - cells.centres[static_cast<size_t>(cell) * 2 + k];
      sum += difference * difference;
    }
    return sum;
  };
  double total = 0;
  for (size_t row = 0; row < 500; ++row) {
    for (int64_t cell = 0; cell < 5; ++cell)
      ASSERT_LE(distance(row, cells.of[row]), distance(row, cell) + 1e-4);
    total += distance(row, cells.of[row]);
  }
  EXPECT_LT(total / 500, 20);  // 2 where every cluster is a cell, 202 were all points in one
}

TEST(Cells, AreTheSameOnAnyNumberOfThreads) {
  const auto rows = points();
  const int before = thread_count();
  set_thread_count(1);
  const Cells one = make_cells(rows, 2, 5, 1);
  set_thread_count(2);
  const Cells two = make_cells(rows, 2, 5, 1);
  set_thread_count(before);
  EXPECT_EQ(one.of, two.of);
  EXPECT_EQ(one.centres, two.centres);
}

TEST(Cells, MoreCellsThanRowsAreRefused) {
  const auto rows = points();
  EXPECT_THROW(make_cells(rows, 2, 501, 1), Error);
  EXPECT_THROW(make_cells(rows, 2, 0, 1), Error);
}

}  // namespace
}  // namespace llmcf::retrieval
