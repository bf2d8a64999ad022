// The report of a run: plain data that the pipeline fills, and its renderings. One self-contained
// HTML page (no network, everything inline), one table for terminal, Markdown and CSV, and JSON
// (report_json.h) from which all of them can be made again.
//
//   ReportData data;                          // variants[0] is the baseline
//   data.seeds = {2023, 2024, 2025};
//   data.metrics = standard_metrics();        // AUC, LogLoss, GAUC, RelaImpr
//   data.variants.push_back({.name = "none", .metrics = {{.per_seed = {.781, .779, .783}}, ...}});
//   write_report(data, workspace.report());
//   fmt::print("{}", result_table_text(data));
//
// Invariants:
//  1. A number that is not available is NaN (in a vector of numbers) or absent (optional); it is
//  shown as a dash.
//  2. Every text is data: it may hold anything, markup included, and is shown as written.
//  3. The same data gives the same bytes in every rendering.
//  4. Charts never stand alone: each has a table with the same numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace llmcf::pipeline {

struct KeyValue {
  std::string key;
  std::string value;
};

// One metric of the result table.
struct MetricInfo {
  std::string name;     // "AUC"
  std::string meaning;  // one sentence for the reader
  bool higher_is_better = true;
  bool percent = false;  // stored as a share, shown as 1.23 %
  int decimals = 4;      // shown
};

// AUC, LogLoss, GAUC, RelaImpr, in this order.
std::vector<MetricInfo> standard_metrics();

struct Interval {
  double low = 0;
  double high = 0;
};

// A variant's figures for one metric. Mean, standard deviation and verdict are derived.
struct MetricResult {
  std::vector<double> per_seed;  // in the order of ReportData::seeds; empty = not applicable
  std::optional<Interval> interval = {};  // bootstrap confidence interval
  std::optional<double> p_value = {};     // paired test against the baseline
};

struct VariantResult {
  std::string name;                   // "llmcf"
  std::string description;            // "DeepFM + in-context module over 4 examples"; may be empty
  std::vector<MetricResult> metrics;  // parallel to ReportData::metrics
};

struct CurvePoint {
  int64_t epoch = 0;  // from 1
  double train_loss = 0;
  double valid = 0;  // the figure that chooses the epoch: ReportData::metrics.front()
};

struct Curve {
  std::string variant;
  int64_t seed = 0;
  int64_t best_epoch = 0;  // whose weights were kept; 0 = unknown
  std::vector<CurvePoint> points = {};
};

struct SliceSeries {
  std::string variant;
  std::vector<double> values;  // per bucket, mean over seeds; NaN where it is undefined
};

// A measure by a property of the row, e.g. the length of its history.
struct Slice {
  std::string title;                 // "History length"
  std::string meaning;               // "items in the history when the row was scored"
  std::vector<std::string> buckets;  // "1-2", "3-5", ... ascending
  std::vector<int64_t> rows;         // per bucket
  std::vector<SliceSeries> series;
};

// Similarity of the retrieved examples in one split. Bin b of a series counts edges[b] <= s <
// edges[b + 1], the last one both ends.
struct SimilaritySeries {
  std::string label;  // "positive examples", "negative examples"
  std::vector<int64_t> counts;
};

struct SplitSimilarity {
  std::string split;  // "train", "valid", "test"
  int64_t rows = 0;
  int64_t slots = 0;        // K per row
  double masked_share = 0;  // of rows x K slots that stayed empty
  double coverage = 0;      // share of the rows with at least one example
  double pool_used = 0;     // share of the pool retrieved at least once; NaN if not counted
  double mean_positive = 0;
  double mean_negative = 0;
  std::vector<double> edges;
  std::vector<SimilaritySeries> series;
};

struct RetrievedExample {
  double similarity = 0;
  int64_t label = 0;
  std::string target;
  std::vector<std::string> history;  // titles, oldest first
  std::string cot;                   // empty = the variant was trained without
};

struct TestRow {
  std::string user;
  std::vector<std::string> history;  // titles, oldest first
  std::string target;
  int64_t label = 0;
  std::vector<double> scores;  // ReportData::score by variant
  std::vector<RetrievedExample> examples;
};

struct StageTime {
  std::string name;
  double seconds = 0;  // of the run that made the outputs, also when skipped now
  double peak_memory_mib = 0;
  bool skipped = false;
};

struct ReportData {
  std::string title;
  std::string created;        // as shown, e.g. "2026-11-23 14:05 UTC"; the one field that is a time
  std::string protocol;       // "strict", "paper"
  std::string reasoner;       // "template (no language model)": shown wherever a CoT is
  std::string interval_name;  // "95 % bootstrap interval over test users"
  std::string test_name;      // "paired t-test over seeds"
  double significance = 0.05;  // a p-value below it counts
  std::vector<int64_t> seeds;
  std::vector<KeyValue> dataset;
  std::string configuration;  // YAML as text

  std::vector<MetricInfo> metrics;
  std::string sliced = "AUC";  // what `slices` and the curves' validation hold
  std::string score = "Probability of a click, mean over seeds";  // what TestRow::scores are
  std::vector<VariantResult> variants;                            // the first one is the baseline
  std::vector<Curve> curves;
  std::vector<Slice> slices;
  std::vector<SplitSimilarity> similarity;
  std::vector<TestRow> rows;
  std::vector<StageTime> stages;
  std::vector<KeyValue> environment;  // versions, threads, machine
};

// Over the seeds that have a figure. The deviation is the sample's (n - 1), NaN below two seeds.
double mean_of(const MetricResult& result);
double deviation_of(const MetricResult& result);

// In plain words, variant against baseline: "baseline", "better (p = .012, 3 seeds)", "worse (p =
// .004, 3 seeds)", "not significant (p = .31, 3 seeds)", "not tested (1 seed)".
std::string verdict(const ReportData& data, size_t variant, size_t metric);

// Replaces the file atomically. Throws Error if `data` contradicts itself (see check_report) or the
// file cannot be written.
void write_report(const ReportData& data, const std::filesystem::path& path);
std::string report_html(const ReportData& data);

// Variants in rows, mean +- deviation per metric, p-value and verdict for the first metric.
std::string result_table_text(const ReportData& data);      // aligned, for a terminal
std::string result_table_markdown(const ReportData& data);  // GitHub's tables
// Long form for programs: one line per variant and metric, full precision, per-seed columns.
std::string result_table_csv(const ReportData& data);

// Throws Error naming the field if vectors that must be parallel are not. Every rendering calls it.
void check_report(const ReportData& data);

}  // namespace llmcf::pipeline
