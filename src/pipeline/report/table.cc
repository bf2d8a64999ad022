// The result table as text, Markdown and CSV.
#include <cmath>

#include <fmt/format.h>

#include "pipeline/report/format.h"
#include "pipeline/report/grid.h"
#include "pipeline/report/report.h"

namespace llmcf::pipeline {

namespace {

// Header, then one row per variant; the last column is the verdict.
Grid result_grid(const ReportData& data) {
  check_report(data);
  Grid::Row header = {"variant"};
  for (const MetricInfo& metric : data.metrics)
    header.push_back(metric.name);
  if (!data.metrics.empty()) header.push_back("verdict on " + data.metrics[0].name);
  Grid grid = Grid::with_header(std::move(header));
  grid.left.back() = true;
  for (size_t variant = 0; variant < data.variants.size(); ++variant) {
    Grid::Row row = {data.variants[variant].name};
    for (size_t metric = 0; metric < data.metrics.size(); ++metric)
      row.push_back(mean_text(data.metrics[metric], data.variants[variant].metrics[metric]));
    if (!data.metrics.empty()) row.push_back(verdict(data, variant, 0));
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

}  // namespace

std::string result_table_text(const ReportData& data) {
  return grid_text(result_grid(data));
}

std::string result_table_markdown(const ReportData& data) {
  return grid_markdown(result_grid(data));
}

std::string result_table_csv(const ReportData& data) {
  check_report(data);
  std::string text = "variant,metric,mean,deviation,ci_low,ci_high,p_value,verdict";
  for (const int64_t seed : data.seeds)
    text += fmt::format(",seed_{}", seed);
  text += '\n';
  for (size_t variant = 0; variant < data.variants.size(); ++variant) {
    for (size_t metric = 0; metric < data.metrics.size(); ++metric) {
      const MetricResult& result = data.variants[variant].metrics[metric];
      text += fmt::format("{},{},{},{},{},{},{},{}", csv_cell(data.variants[variant].name),
                          csv_cell(data.metrics[metric].name), csv_number(mean_of(result)),
                          csv_number(deviation_of(result)),
                          result.interval ? csv_number(result.interval->low) : "",
                          result.interval ? csv_number(result.interval->high) : "",
                          result.p_value ? csv_number(*result.p_value) : "",
                          csv_cell(verdict(data, variant, metric)));
      for (size_t seed = 0; seed < data.seeds.size(); ++seed)
        text += ',' + (result.per_seed.empty() ? "" : csv_number(result.per_seed[seed]));
      text += '\n';
    }
  }
  return text;
}

}  // namespace llmcf::pipeline
