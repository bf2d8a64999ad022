// The analysis of a workspace: columns, attributes, distributions.
#include "pipeline/analysis.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>

#include <fmt/chrono.h>

#include "pipeline/rank_statistics.h"

namespace llmcf::pipeline {

namespace {

constexpr size_t kFrequent = 10;
constexpr size_t kShownText = 160;  // bytes of a chain of thought
constexpr double kBin = 0.025;      // of similarity

SimilaritySummary summary_of(const std::string& name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  SimilaritySummary summary{.name = name, .slots = static_cast<int64_t>(values.size())};
  if (values.empty()) return summary;
  summary.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  summary.low = quantile(values, 0.05);
  summary.quarter = quantile(values, 0.25);
  summary.median = quantile(values, 0.5);
  summary.three_quarters = quantile(values, 0.75);
  summary.high = quantile(values, 0.95);
  return summary;
}

struct Column {
  std::string name;
  std::vector<double> values;
};

SimilarityHistogram histogram_of(const std::string& title, const std::vector<Column>& columns) {
  double low = 1, high = -1;
  for (const Column& column : columns) {
    for (const double value : column.values) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  SimilarityHistogram histogram{.title = title, .edges = {}, .series = {}};
  if (low > high) return histogram;
  const auto first = static_cast<int64_t>(std::floor(low / kBin));
  const auto last = std::max(first + 1, static_cast<int64_t>(std::ceil(high / kBin)));
  for (int64_t bin = first; bin <= last; ++bin)
    histogram.edges.push_back(kBin * static_cast<double>(bin));
  for (const Column& column : columns) {
    SimilaritySeries series{.label = column.name, .counts = {}};
    series.counts.resize(static_cast<size_t>(last - first), 0);
    for (const double value : column.values) {
      const auto bin = static_cast<int64_t>(std::floor(value / kBin)) - first;
      ++series.counts[static_cast<size_t>(std::clamp<int64_t>(bin, 0, last - first - 1))];
    }
    histogram.series.push_back(std::move(series));
  }
  return histogram;
}

void add_similarities(const Retrieved& retrieved, RetrievalAnalysis& analysis) {
  Column positive{"positive examples", {}}, negative{"negative examples", {}};
  Column history{"histories", {}}, target{"targets", {}};
  const retrieval::Assignment& assignment = retrieved.assignment;
  for (size_t slot = 0; slot < assignment.ids.size(); ++slot) {
    if (assignment.ids[slot] < 0) continue;
    const bool taken = retrieved.examples.label()[static_cast<size_t>(assignment.ids[slot])] > 0.5F;
    (taken ? positive : negative).values.push_back(assignment.similarity[slot]);
    history.values.push_back(assignment.history_similarity[slot]);
    target.values.push_back(assignment.target_similarity[slot]);
  }
  for (const Column* column : {&positive, &negative, &history, &target})
    analysis.similarity.push_back(summary_of(column->name, column->values));
  analysis.histograms.push_back(
      histogram_of("Similarity by the example's label", {positive, negative}));
  analysis.histograms.push_back(
      histogram_of("Similarity of histories and of targets", {history, target}));
}

std::string beginning_of(std::string_view text) {
  if (text.size() <= kShownText) return std::string(text);
  size_t end = text.rfind(' ', kShownText);
  if (end == std::string_view::npos || end == 0) end = kShownText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;
  return std::string(text.substr(0, end)) + " …";
}

void add_frequent(const Retrieved& retrieved, RetrievalAnalysis& analysis) {
  std::vector<int64_t> uses(retrieved.examples.label().size(), 0);
  for (const int32_t id : retrieved.assignment.ids) {
    if (id >= 0) ++uses[static_cast<size_t>(id)];
  }
  std::vector<int64_t> order(uses.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t left, int64_t right) {
    return uses[static_cast<size_t>(left)] > uses[static_cast<size_t>(right)];
  });
  const cot::ExampleSet& examples = retrieved.examples;
  for (size_t rank = 0; rank < std::min(kFrequent, order.size()); ++rank) {
    const auto at = static_cast<size_t>(order[rank]);
    if (uses[at] == 0) break;
    analysis.frequent.push_back(
        {.uses = uses[at],
         .label = examples.label()[at] > 0.5F ? 1 : 0,
         .history = examples.position()[at],
         .target = std::string(retrieved.dataset.item_title(examples.item()[at])),
         .cot = beginning_of(examples.text(order[rank]))});
  }
}

// Shared values over all values of two items; NaN if either has none.
double overlap(const data::FieldColumn& column, int32_t first, int32_t second) {
  const auto values = [&](int32_t item) {
    const auto begin = static_cast<size_t>(column.offsets[static_cast<size_t>(item)]);
    const auto end = static_cast<size_t>(column.offsets[static_cast<size_t>(item) + 1]);
    std::vector<int32_t> ids(column.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                             column.ids.begin() + static_cast<std::ptrdiff_t>(end));
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  const std::vector<int32_t> a = values(first), b = values(second);
  if (a.empty() || b.empty()) return kNoFigure;
  std::vector<int32_t> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return static_cast<double>(common.size()) /
         static_cast<double>(a.size() + b.size() - common.size());
}

}  // namespace

std::vector<Attribute> attributes_of(const Retrieved& retrieved) {
  const data::Rows& rows = retrieved.queries();
  const cot::ExampleSet& examples = retrieved.examples;
  const auto same = [](std::span<const int32_t> row_ids, std::span<const int32_t> example_ids) {
    return [row_ids, example_ids](int64_t row, int32_t example) {
      return row_ids[static_cast<size_t>(row)] == example_ids[static_cast<size_t>(example)] ? 1.0
                                                                                            : 0.0;
    };
  };
  std::vector<Attribute> attributes = {{"same item", same(rows.item, examples.item())},
                                       {"same user", same(rows.user, examples.user())}};
  for (const data::FieldColumn& column : retrieved.dataset.fields()) {
    if (column.field.side != data::Side::kItem || column.ids.empty()) continue;
    attributes.push_back({column.field.name, [&rows, &examples, &column](int64_t row, int32_t id) {
                            return overlap(column, rows.item[static_cast<size_t>(row)],
                                           examples.item()[static_cast<size_t>(id)]);
                          }});
  }
  return attributes;
}

RetrievalAnalysis analyse(const Retrieved& retrieved, const AnalysisOptions& options) {
  const data::Rows& rows = retrieved.queries();
  RetrievalAnalysis analysis;
  analysis.split = data::split_name(retrieved.split);
  analysis.reasoners = retrieved.examples.reasoners();
  analysis.created = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
  const AnalysisColumns columns{.assignment = retrieved.assignment,
                                .labels = rows.label,
                                .users = rows.user,
                                .pool_labels = retrieved.examples.label(),
                                .attributes = attributes_of(retrieved)};
  add_figures(columns, row_properties(retrieved.rows, rows), options, analysis);
  add_similarities(retrieved, analysis);
  add_frequent(retrieved, analysis);
  return analysis;
}

}  // namespace llmcf::pipeline
