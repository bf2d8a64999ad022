#include "pipeline/slices.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "train/metrics.h"

namespace llmcf::pipeline {

size_t Buckets::of(int64_t value) const {
  const auto above = std::upper_bound(lows.begin(), lows.end(), value);
  return above == lows.begin() ? 0 : static_cast<size_t>(above - lows.begin() - 1);
}

std::vector<std::string> Buckets::names() const {
  std::vector<std::string> names;
  for (size_t bucket = 0; bucket < lows.size(); ++bucket) {
    if (bucket + 1 == lows.size()) {
      names.push_back(fmt::format("{}+", lows[bucket]));
    } else if (lows[bucket + 1] == lows[bucket] + 1) {
      names.push_back(fmt::format("{}", lows[bucket]));
    } else {
      names.push_back(fmt::format("{}-{}", lows[bucket], lows[bucket + 1] - 1));
    }
  }
  return names;
}

namespace {

// Mean over seeds of the measure on the chosen rows; NaN if one is.
double mean_over_seeds(const VariantScores& variant, std::span<const int64_t> rows,
                       std::span<const float> labels, SliceMeasure measure) {
  std::vector<float> chosen_labels;
  for (const int64_t row : rows)
    chosen_labels.push_back(labels[static_cast<size_t>(row)]);
  double sum = 0;
  for (const auto& scores : variant.scores) {
    std::vector<float> chosen;
    for (const int64_t row : rows)
      chosen.push_back(scores[static_cast<size_t>(row)]);
    sum += measure(chosen, chosen_labels);
  }
  return sum / static_cast<double>(variant.scores.size());
}

}  // namespace

double mean_auc(std::span<const float> logits, std::span<const float> labels) {
  return train::auc(logits, labels).value_or(std::numeric_limits<double>::quiet_NaN());
}

double mean_hit(std::span<const float> ranks, std::span<const float>) {
  constexpr float kDepth = 10;
  const auto hits =
      std::count_if(ranks.begin(), ranks.end(), [](float rank) { return rank < kDepth; });
  return ranks.empty() ? std::numeric_limits<double>::quiet_NaN()
                       : static_cast<double>(hits) / static_cast<double>(ranks.size());
}

std::vector<RowProperty> row_properties(const data::RowSet& set, const data::Rows& rows) {
  std::vector<int64_t> all(static_cast<size_t>(rows.size()));
  std::iota(all.begin(), all.end(), int64_t{0});
  return row_properties(set, rows, all);
}

std::vector<RowProperty> row_properties(const data::RowSet& set, const data::Rows& rows,
                                        std::span<const int64_t> chosen) {
  std::vector<RowProperty> properties = {
      {.title = "History length",
       .meaning = "items in the history when the row was scored",
       .buckets = {.lows = {0, 1, 3, 5, 7, 10, 20, 50}},
       .values = {}},
      {.title = "Item popularity",
       .meaning = "positives of the target item in the training split",
       .buckets = {.lows = {0, 1, 3, 6, 11, 21, 51, 101}},
       .values = {}}};
  for (const int64_t row : chosen) {
    const auto index = static_cast<size_t>(row);
    properties[0].values.push_back(rows.position[index]);
    properties[1].values.push_back(set.item_train_count()[static_cast<size_t>(rows.item[index])]);
  }
  return properties;
}

RowProperty similarity_property(const retrieval::Assignment& slots) {
  RowProperty property{.title = "Similarity of the examples",
                       .meaning = "mean similarity of the row's examples, in percent",
                       .buckets = {.lows = {0, 10, 20, 30, 40, 50, 60, 70, 80}},
                       .values = {}};
  for (int64_t row = 0; row < slots.rows; ++row) {
    const auto ids = slots.ids_of(row);
    const auto similarity = slots.similarity_of(row);
    double sum = 0;
    int64_t shown = 0;
    for (size_t slot = 0; slot < ids.size(); ++slot) {
      if (ids[slot] < 0) continue;
      sum += similarity[slot];
      ++shown;
    }
    const double percent = shown == 0 ? 0 : 100 * sum / static_cast<double>(shown);
    property.values.push_back(static_cast<int64_t>(std::clamp(percent, 0.0, 100.0)));
  }
  return property;
}

Slice slice_by(const RowProperty& property, std::span<const float> labels,
               const std::vector<VariantScores>& variants, SliceMeasure measure) {
  std::vector<std::vector<int64_t>> rows(property.buckets.lows.size());
  for (size_t row = 0; row < property.values.size(); ++row)
    rows[property.buckets.of(property.values[row])].push_back(static_cast<int64_t>(row));
  Slice slice{.title = property.title,
              .meaning = property.meaning,
              .buckets = property.buckets.names(),
              .rows = {},
              .series = {}};
  for (const auto& bucket : rows)
    slice.rows.push_back(static_cast<int64_t>(bucket.size()));
  for (const VariantScores& variant : variants) {
    SliceSeries series{.variant = variant.name, .values = {}};
    for (const auto& bucket : rows)
      series.values.push_back(mean_over_seeds(variant, bucket, labels, measure));
    slice.series.push_back(std::move(series));
  }
  return slice;
}

}  // namespace llmcf::pipeline
