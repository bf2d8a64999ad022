// Figures derived from the report's data, and its checks.
#include "pipeline/report/report.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "pipeline/report/format.h"

namespace llmcf::pipeline {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

int64_t valid_count(const MetricResult& result) {
  int64_t count = 0;
  for (const double value : result.per_seed)
    count += std::isnan(value) ? 0 : 1;
  return count;
}

void expect(size_t found, size_t expected, const std::string& what, const std::string& of) {
  if (found == expected) return;
  throw Error(
      fmt::format("report: {} has {} entries, expected {}: one per {}", what, found, expected, of));
}

void check_variants(const ReportData& data) {
  for (const VariantResult& variant : data.variants) {
    const std::string what = fmt::format("variant '{}'", variant.name);
    expect(variant.metrics.size(), data.metrics.size(), what, "metric");
    for (size_t metric = 0; metric < data.metrics.size(); ++metric) {
      if (variant.metrics[metric].per_seed.empty()) continue;
      expect(variant.metrics[metric].per_seed.size(), data.seeds.size(),
             fmt::format("{}, {}", what, data.metrics[metric].name), "seed");
    }
  }
}

void check_similarity(const SplitSimilarity& split) {
  if (split.series.empty()) return;
  const std::string what = fmt::format("similarity of split '{}'", split.split);
  if (split.edges.size() < 2) throw Error(fmt::format("report: {} has no bin edges", what));
  for (const SimilaritySeries& series : split.series)
    expect(series.counts.size(), split.edges.size() - 1, what + ", " + series.label, "bin");
}

}  // namespace

std::vector<MetricInfo> standard_metrics() {
  return {
      {.name = "AUC",
       .meaning = "Share of pairs of a positive and a negative row that the scores put in order."},
      {.name = "LogLoss",
       .meaning = "Mean negative log-likelihood of the labels: lower is better.",
       .higher_is_better = false},
      {.name = "GAUC",
       .meaning = "AUC within each user, averaged over users by their number of rows."},
      {.name = "RelaImpr",
       .meaning = "Relative improvement of AUC above chance: (AUC - 0.5) / (baseline's AUC - 0.5) "
                  "- 1.",
       .percent = true,
       .decimals = 2},
  };
}

double mean_of(const MetricResult& result) {
  const int64_t count = valid_count(result);
  if (count == 0) return kNone;
  double sum = 0;
  for (const double value : result.per_seed)
    sum += std::isnan(value) ? 0 : value;
  return sum / static_cast<double>(count);
}

double deviation_of(const MetricResult& result) {
  const int64_t count = valid_count(result);
  if (count < 2) return kNone;
  const double mean = mean_of(result);
  double squares = 0;
  for (const double value : result.per_seed)
    squares += std::isnan(value) ? 0 : (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(count - 1));
}

std::string verdict(const ReportData& data, size_t variant, size_t metric) {
  if (variant == 0) return "baseline";
  const MetricResult& result = data.variants[variant].metrics[metric];
  const double difference = mean_of(result) - mean_of(data.variants[0].metrics[metric]);
  if (std::isnan(difference)) return kDash;
  const int64_t count = valid_count(result);
  const std::string seeds = fmt::format("{} seed{}", count, count == 1 ? "" : "s");
  if (!result.p_value || std::isnan(*result.p_value)) return fmt::format("not tested ({})", seeds);
  const bool better = (difference > 0) == data.metrics[metric].higher_is_better;
  const char* word = *result.p_value >= data.significance ? "not significant"
                     : better                             ? "better"
                                                          : "worse";
  return fmt::format("{} ({}, {})", word, p_text(*result.p_value), seeds);
}

void check_report(const ReportData& data) {
  check_variants(data);
  for (const Slice& slice : data.slices) {
    const std::string what = fmt::format("slice '{}'", slice.title);
    expect(slice.rows.size(), slice.buckets.size(), what + ", rows", "bucket");
    for (const SliceSeries& series : slice.series)
      expect(series.values.size(), slice.buckets.size(), what + ", " + series.variant, "bucket");
  }
  for (const SplitSimilarity& split : data.similarity)
    check_similarity(split);
  for (const TestRow& row : data.rows) {
    expect(row.scores.size(), data.variants.size(),
           fmt::format("test row of user '{}', scores", row.user), "variant");
  }
}

void write_report(const ReportData& data, const std::filesystem::path& path) {
  write_file(path, report_html(data));
}

}  // namespace llmcf::pipeline
