// The two layouts of the history scan: whole within its error, cells as whole where they are read.
#include "serve/history_scan.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "retrieval/packed_pool.h"
#include "serve/kernels.h"

namespace llmcf::serve {
namespace {

constexpr int64_t kWidth = 24, kExamples = 900, kClusters = 30;

// Unit vectors near cluster centres, and the examples of one label: every other one.
struct Data {
  Data() {
    Random random(7, "history_scan");
    std::vector<float> centres(kClusters * kWidth);
    for (float& value : centres)
      value = static_cast<float>(random.normal());
    for (int64_t i = 0; i < kExamples; ++i) {
      const auto first = history.size();
      double square = 0;
      for (int64_t k = 0; k < kWidth; ++k) {
        history.push_back(centres[static_cast<size_t>(i % kClusters * kWidth + k)] +
                          static_cast<float>(0.3 * random.normal()));
        square += std::pow(history.back(), 2);
      }
      for (size_t at = first; at < history.size(); ++at)
        history[at] /= static_cast<float>(std::sqrt(square));
      if (i % 2 == 1) columns.push_back(static_cast<int32_t>(i));
    }
  }
  const float* of(size_t column) const { return history.data() + columns[column] * kWidth; }

  std::vector<float> history;
  std::vector<int32_t> columns;
};

// Written to a file and read again.
struct Written {
  Written(const Data& data, const ScanOptions& options)
      : tensors(data.history, data.columns, kWidth, options) {
    SafetensorsWriter writer;
    tensors.add_to(writer, "0.1");
    writer.write(directory.path() / "scan");
    reader = std::make_unique<SafetensorsReader>(directory.path() / "scan");
    scan = HistoryScan(*reader, "0.1", static_cast<int64_t>(data.columns.size()), kWidth, options);
  }
  std::vector<float> products(const float* history) const {
    ScratchArena arena;
    std::vector<float> out(static_cast<size_t>(retrieval::padded_columns(kExamples)));
    scan.products(history, arena, out.data());
    return out;
  }
  TemporaryDirectory directory;
  ScanTensors tensors;
  std::unique_ptr<SafetensorsReader> reader;
  HistoryScan scan;
};

TEST(HistoryScan, WholeIsWithinItsError) {
  const Data data;
  const Written whole(data, {});
  EXPECT_GT(whole.tensors.error(), 0);
  EXPECT_LT(whole.tensors.error(), 1e-3);
  for (size_t query = 0; query < data.columns.size(); query += 50) {
    const auto products = whole.products(data.of(query));
    for (size_t column = 0; column < data.columns.size(); ++column)
      ASSERT_NEAR(products[column], kernels::dot(data.of(query), data.of(column), kWidth),
                  whole.tensors.error() + 1e-6);
  }
}

TEST(HistoryScan, AllCellsReadGiveTheWhole) {
  const Data data;
  const Written whole(data, {}), cells(data, {.cells = 20, .probes = 20});
  const auto expected = whole.products(data.of(3)), got = cells.products(data.of(3));
  for (size_t column = 0; column < data.columns.size(); ++column)
    ASSERT_NEAR(got[column], expected[column], 1e-6);
}

TEST(HistoryScan, CellsNearTheQueryAreReadAndOthersCountAsTheirCentre) {
  const Data data;
  const Written cells(data, {.cells = 20, .probes = 3});
  double near_error = 0;
  int64_t exact = 0, beyond = 0, all = 0;
  for (size_t query = 0; query < data.columns.size(); query += 10) {
    const auto products = cells.products(data.of(query));
    // The query's own vector is among the examples: its cell is the nearest.
    near_error = std::max(near_error, std::abs(1.0 - static_cast<double>(products[query])));
    for (size_t column = 0; column < data.columns.size(); ++column, ++all) {
      const double wrong = std::abs(static_cast<double>(products[column]) -
                                    kernels::dot(data.of(query), data.of(column), kWidth));
      exact += wrong < 1e-3 ? 1 : 0;
      beyond += wrong > cells.tensors.error() ? 1 : 0;
    }
  }
  EXPECT_LT(near_error, 1e-3);
  EXPECT_GT(exact, all / 10);
  EXPECT_LT(exact, all);  // some count as their centre
  EXPECT_NEAR(static_cast<double>(beyond) / static_cast<double>(all - exact), 0.3, 0.15);
  EXPECT_LT(cells.tensors.error(), 0.5);  // and it says something
}

TEST(HistoryScan, AnyColumnOfACellCanBeAskedFor) {
  const Data data;
  const Written cells(data, {.cells = 20, .probes = 3});
  const std::vector<int32_t> asked = {17, 0, 449, 200, 5};
  std::vector<float> products(asked.size());
  ScratchArena arena;
  cells.scan.products_of(data.of(8), asked, arena, products.data());
  EXPECT_LT(cells.tensors.half_error(), 1e-3);
  for (size_t i = 0; i < asked.size(); ++i)
    EXPECT_NEAR(products[i],
                kernels::dot(data.of(8), data.of(static_cast<size_t>(asked[i])), kWidth),
                cells.tensors.half_error() + 1e-6);
}

TEST(HistoryScan, FewerExamplesThanCells) {
  Data data;
  data.columns.resize(5);
  const Written cells(data, {.cells = 20, .probes = 9});
  const auto products = cells.products(data.of(2));
  for (size_t column = 0; column < 5; ++column)
    EXPECT_NEAR(products[column], kernels::dot(data.of(2), data.of(column), kWidth), 1e-3);
}

TEST(HistoryScan, ALayoutThatDoesNotFitIsRefused) {
  const Data data;
  const Written cells(data, {.cells = 20, .probes = 3});
  EXPECT_THROW(HistoryScan(*cells.reader, "0.1", 17, kWidth, {.cells = 20, .probes = 3}),
               InputError);
  EXPECT_THROW(HistoryScan(*cells.reader, "0.0", 450, kWidth, {.cells = 20, .probes = 3}),
               InputError);
}

TEST(HistoryScan, SmallPoolsAreReadWhole) {
  EXPECT_EQ(ScanOptions::suited_to(200'000).cells, 0);
  const ScanOptions large = ScanOptions::suited_to(1'000'000);
  EXPECT_EQ(large.cells, 2000);
  EXPECT_EQ(large.probes, 41);
}

}  // namespace
}  // namespace llmcf::serve
