// The result table as text, Markdown and CSV.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/report/format.h"
#include "pipeline/report/report.h"

namespace llmcf::pipeline {

namespace {

using Row = std::vector<std::string>;

// Header, then one row per variant.
std::vector<Row> table_rows(const ReportData& data) {
  std::vector<Row> rows = {{"variant"}};
  for (const MetricInfo& metric : data.metrics)
    rows[0].push_back(metric.name);
  if (!data.metrics.empty()) rows[0].push_back("verdict on " + data.metrics[0].name);
  for (size_t variant = 0; variant < data.variants.size(); ++variant) {
    Row row = {data.variants[variant].name};
    for (size_t metric = 0; metric < data.metrics.size(); ++metric)
      row.push_back(mean_text(data.metrics[metric], data.variants[variant].metrics[metric]));
    if (!data.metrics.empty()) row.push_back(verdict(data, variant, 0));
    rows.push_back(std::move(row));
  }
  return rows;
}

// Code points, which is columns for the letters and signs used here.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::vector<size_t> widths_of(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], width_of(row[column]));
  }
  return widths;
}

// Numbers to the right, the first and the last column to the left.
std::string padded(const Row& row, size_t column, size_t width) {
  const std::string space(width - width_of(row[column]), ' ');
  const bool left = column == 0 || column + 1 == row.size();
  return left ? row[column] + space : space + row[column];
}

std::string without_control(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

std::string markdown_cell(const std::string& text) {
  std::string cell;
  for (const char c : without_control(text)) {
    if (c == '|' || c == '\\' || c == '<' || c == '`' || c == '*' || c == '_' || c == '[')
      cell += '\\';
    cell += c;
  }
  return cell;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) {
    if (c == '"') cell += '"';
    cell += c;
  }
  return cell + '"';
}

std::string csv_number(double value) {
  return std::isnan(value) ? std::string() : fmt::format("{}", value);
}

}  // namespace

std::string result_table_text(const ReportData& data) {
  check_report(data);
  std::vector<Row> rows = table_rows(data);
  for (Row& row : rows) {
    for (std::string& cell : row)
      cell = without_control(std::move(cell));
  }
  const std::vector<size_t> widths = widths_of(rows);
  std::string text;
  for (size_t index = 0; index < rows.size(); ++index) {
    std::string line;
    for (size_t column = 0; column < widths.size(); ++column)
      line += (column == 0 ? "" : "  ") + padded(rows[index], column, widths[column]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
    if (index > 0) continue;
    for (size_t column = 0; column < widths.size(); ++column)
      text += (column == 0 ? "" : "  ") + std::string(widths[column], '-');
    text += '\n';
  }
  return text;
}

std::string result_table_markdown(const ReportData& data) {
  check_report(data);
  const std::vector<Row> rows = table_rows(data);
  std::string text;
  for (size_t index = 0; index < rows.size(); ++index) {
    text += '|';
    for (const std::string& cell : rows[index])
      text += ' ' + markdown_cell(cell) + " |";
    text += '\n';
    if (index > 0) continue;
    text += '|';
    for (size_t column = 0; column < rows[0].size(); ++column)
      text += column == 0 || column + 1 == rows[0].size() ? " --- |" : " ---: |";
    text += '\n';
  }
  return text;
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
