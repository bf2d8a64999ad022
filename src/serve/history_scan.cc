#include "serve/history_scan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/random.h"
#include "core/threads.h"
#include "retrieval/cells.h"
#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "serve/kernels.h"
#include "serve/scan_kernels.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kWholeUpTo = 200'000;
constexpr int64_t kCellsPerProbe = 48;
constexpr int64_t kLanes = retrieval::kernels::kPanelColumns;
constexpr int64_t kSampledQueries = 64;
constexpr int64_t kSampledColumns = 4096;  // of each query
constexpr double kWithin = 0.7;            // share of sampled products that are within the error

}  // namespace

ScanOptions ScanOptions::suited_to(int64_t examples) {
  if (examples <= kWholeUpTo) return {};
  const auto cells = static_cast<int64_t>(2 * std::sqrt(static_cast<double>(examples)));
  return {.cells = cells, .probes = probes_of(cells)};
}

int64_t ScanOptions::probes_of(int64_t cells) {
  return std::max<int64_t>(1, cells / kCellsPerProbe);
}

HistoryScan::HistoryScan(const SafetensorsReader& reader, const std::string& suffix,
                         int64_t columns, int64_t width, const ScanOptions& options)
    : columns_(columns), width_(width), probes_(options.probes) {
  if (options.cells == 0 || columns == 0) {
    scan_ = reader.get<uint16_t>("retrieval.scan." + suffix,
                                 {retrieval::padded_columns(columns) * width});
    return;
  }
  // A label with few examples has fewer cells.
  begin_ = reader.get<int32_t>("retrieval.cell_begin." + suffix);
  const auto cells = static_cast<int64_t>(begin_.size()) - 1;
  probes_ = std::min(probes_, cells);
  column_ = reader.get<int32_t>("retrieval.cell_column." + suffix, {columns});
  row_ = reader.get<int32_t>("retrieval.cell_row." + suffix, {columns});
  cell_ = reader.get<int32_t>("retrieval.cell." + suffix, {columns});
  centres_ = reader.get<float>("retrieval.centres." + suffix, {cells, width});
  scan_ = reader.get<uint16_t>("retrieval.scan." + suffix, {columns * width});
}

void HistoryScan::products(const float* history, ScratchArena& arena, float* out) const {
  if (whole())
    kernels::scan_half(history, scan_.data(), retrieval::padded_columns(columns_), width_, out);
  else
    read_cells(history, arena, out);
}

void HistoryScan::read_cells(const float* history, ScratchArena& arena, float* out) const {
  const ScratchArena::Scope scope(arena);
  const auto cells = static_cast<int64_t>(begin_.size()) - 1;
  float* near = arena.floats(cells);
  auto order = arena.span<int32_t>(cells);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t cell = 0; cell < cells; ++cell)
    near[cell] = kernels::dot(history, centres_.data() + cell * width_, width_);
  std::nth_element(order.begin(), order.begin() + probes_ - 1, order.end(),
                   [near](int32_t left, int32_t right) { return near[left] > near[right]; });
  for (int64_t column = 0; column < columns_; ++column)
    out[column] = near[cell_[static_cast<size_t>(column)]];
  for (const int32_t cell : order.first(static_cast<size_t>(probes_))) {
    const int32_t first = begin_[static_cast<size_t>(cell)];
    const int64_t count = begin_[static_cast<size_t>(cell) + 1] - first;
    const ScratchArena::Scope one(arena);
    auto rows = arena.span<int32_t>(count);
    std::iota(rows.begin(), rows.end(), first);
    float* products = arena.floats(count);
    kernels::half_rows(history, scan_.data(), rows.data(), count, width_, products);
    for (int64_t i = 0; i < count; ++i)
      out[column_[static_cast<size_t>(first + i)]] = products[i];
  }
}

void HistoryScan::products_of(const float* history, std::span<const int32_t> columns,
                              ScratchArena& arena, float* out) const {
  const ScratchArena::Scope scope(arena);
  auto rows = arena.span<int32_t>(static_cast<int64_t>(columns.size()));
  for (size_t i = 0; i < columns.size(); ++i)
    rows[i] = row_[static_cast<size_t>(columns[i])];
  kernels::half_rows(history, scan_.data(), rows.data(), static_cast<int64_t>(columns.size()),
                     width_, out);
}

ScanTensors::ScanTensors(std::span<const float> history, std::span<const int32_t> columns,
                         int64_t width, const ScanOptions& options)
    : history_(history), columns_(columns), width_(width) {
  if (options.cells == 0 || columns.empty())
    pack_whole();
  else
    pack_cells(options);
  error_ = half_error_ = static_cast<float>(lost_ * 1.001);
  if (!cell_.empty()) measure_cells(options);
}

void ScanTensors::put(int32_t column, uint16_t* to, int64_t stride) {
  const float* row = vector(column);
  half_.resize(static_cast<size_t>(width_));
  back_.resize(half_.size());
  kernels::to_half(row, half_.data(), width_);
  kernels::from_half(half_.data(), back_.data(), width_);
  double square = 0;
  for (int64_t k = 0; k < width_; ++k) {
    to[k * stride] = half_[static_cast<size_t>(k)];
    square += std::pow(static_cast<double>(row[k]) - back_[static_cast<size_t>(k)], 2);
  }
  lost_ = std::max(lost_, std::sqrt(square));
}

void ScanTensors::pack_whole() {
  const auto columns = static_cast<int64_t>(columns_.size());
  scan_.assign(static_cast<size_t>(retrieval::padded_columns(columns) * width_), 0);
  for (int64_t column = 0; column < columns; ++column)
    put(static_cast<int32_t>(column),
        scan_.data() + column / kLanes * kLanes * width_ + column % kLanes, kLanes);
}

void ScanTensors::pack_cells(const ScanOptions& options) {
  const auto columns = static_cast<int64_t>(columns_.size());
  std::vector<float> rows(static_cast<size_t>(columns * width_));
  for (int64_t column = 0; column < columns; ++column)
    std::copy_n(vector(column), width_, rows.data() + column * width_);
  const int64_t wanted = std::min(options.cells, columns);
  retrieval::Cells cells = retrieval::make_cells(rows, width_, wanted, 1);
  centres_ = std::move(cells.centres);
  cell_ = std::move(cells.of);
  std::vector<std::vector<int32_t>> members(static_cast<size_t>(wanted));
  for (int64_t column = 0; column < columns; ++column)
    members[static_cast<size_t>(cell_[static_cast<size_t>(column)])].push_back(
        static_cast<int32_t>(column));
  for (const auto& in_cell : members) {
    begin_.push_back(static_cast<int32_t>(column_.size()));
    column_.insert(column_.end(), in_cell.begin(), in_cell.end());
  }
  begin_.push_back(static_cast<int32_t>(column_.size()));
  scan_.assign(column_.size() * static_cast<size_t>(width_), 0);
  row_.resize(column_.size());
  for (size_t row = 0; row < column_.size(); ++row) {
    row_[static_cast<size_t>(column_[row])] = static_cast<int32_t>(row);
    put(column_[row], scan_.data() + row * static_cast<size_t>(width_), 1);
  }
}

// What counting as a centre does to the products of cells that are not read: examples' own vectors
// are the queries.
void ScanTensors::measure_cells(const ScanOptions& options) {
  Random random(1, "scan.error");
  const auto columns = static_cast<int64_t>(columns_.size());
  const auto cells = static_cast<int64_t>(begin_.size()) - 1;
  const auto any = [&] {
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(columns)));
  };
  std::vector<float> near(static_cast<size_t>(cells)), errors;
  for (int64_t query = 0; query < kSampledQueries; ++query) {
    const float* history = vector(any());
    for (int64_t cell = 0; cell < cells; ++cell)
      near[static_cast<size_t>(cell)] =
          kernels::dot(history, centres_.data() + cell * width_, width_);
    std::vector<float> order = near;
    const int64_t probes = std::min(options.probes, cells);
    std::nth_element(order.begin(), order.begin() + probes - 1, order.end(), std::greater<>());
    const float last = order[static_cast<size_t>(probes - 1)];
    for (int64_t i = 0; i < kSampledColumns; ++i) {
      const int64_t column = any();
      const float centre = near[static_cast<size_t>(cell_[static_cast<size_t>(column)])];
      if (centre < last)
        errors.push_back(std::abs(kernels::dot(history, vector(column), width_) - centre));
    }
  }
  if (errors.empty()) return;
  const auto at =
      errors.begin() + static_cast<int64_t>(kWithin * static_cast<double>(errors.size() - 1));
  std::nth_element(errors.begin(), at, errors.end());
  error_ = std::max(error_, *at);
}

void ScanTensors::add_to(SafetensorsWriter& writer, const std::string& suffix) const {
  writer.add<uint16_t>("retrieval.scan." + suffix, scan_);
  if (cell_.empty()) return;
  const auto cells = static_cast<int64_t>(begin_.size()) - 1;
  writer.add<float>("retrieval.centres." + suffix, {cells, width_},
                    std::span<const float>(centres_));
  writer.add<int32_t>("retrieval.cell." + suffix, cell_);
  writer.add<int32_t>("retrieval.cell_begin." + suffix, begin_);
  writer.add<int32_t>("retrieval.cell_column." + suffix, column_);
  writer.add<int32_t>("retrieval.cell_row." + suffix, row_);
}

}  // namespace llmcf::serve
