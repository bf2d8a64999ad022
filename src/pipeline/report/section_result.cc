// What came out: cards, result table, seeds, learning curves, slices.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/strings.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline {

namespace {

// "good", "bad", "even": the class of a verdict.
const char* verdict_class(const std::string& text) {
  if (text.starts_with("better")) return "good";
  if (text.starts_with("worse")) return "bad";
  return "even";
}

std::string verdict_badge(const ReportData& data, size_t variant, size_t metric) {
  const std::string text = verdict(data, variant, metric);
  return fmt::format("<span class=\"badge {}\">{}</span>", verdict_class(text), escape_html(text));
}

std::string difference_of(const ReportData& data, size_t variant, size_t metric) {
  return difference_text(data.metrics[metric], mean_of(data.variants[variant].metrics[metric]) -
                                                   mean_of(data.variants[0].metrics[metric]));
}

// One card per variant: the first metric, large, and what to think of it.
std::string cards(const ReportData& data) {
  std::string html = "<div class=\"cards\">\n";
  for (size_t index = 0; index < data.variants.size(); ++index) {
    const VariantResult& variant = data.variants[index];
    const MetricInfo& metric = data.metrics[0];
    const std::string comparison = index == 0
                                       ? std::string()
                                       : fmt::format("<span class=\"delta\">{} against {}</span>",
                                                     escape_html(difference_of(data, index, 0)),
                                                     escape_html(data.variants[0].name));
    html += fmt::format(
        "<div class=\"card\" style=\"--accent:var({})\"><h3>{}</h3><p class=\"figure\"><span "
        "class=\"unit\">{}</span> {}</p><p>{} {}</p></div>\n",
        series_color(index), escape_html(variant.name), escape_html(metric.name),
        escape_html(metric_text(metric, mean_of(variant.metrics[0]))),
        verdict_badge(data, index, 0), comparison);
  }
  return html + "</div>\n";
}

std::string result_cell(const MetricInfo& info, const MetricResult& result, bool best) {
  std::string html =
      fmt::format("<td{}>{}", best ? " class=\"best\"" : "", escape_html(mean_text(info, result)));
  if (result.interval) {
    html += fmt::format("<small>{}</small>", escape_html(interval_text(info, *result.interval)));
  }
  return html + "</td>";
}

// The variant with the best mean; none (the number of variants) if only one has a figure.
size_t best_variant(const ReportData& data, size_t metric) {
  size_t best = data.variants.size(), figures = 0;
  double best_mean = 0;
  for (size_t index = 0; index < data.variants.size(); ++index) {
    const double mean = mean_of(data.variants[index].metrics[metric]);
    if (std::isnan(mean)) continue;
    const double oriented = data.metrics[metric].higher_is_better ? mean : -mean;
    if (figures++ == 0 || oriented > best_mean) {
      best = index;
      best_mean = oriented;
    }
  }
  return figures > 1 ? best : data.variants.size();
}

std::string result_table(const ReportData& data) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"results\"><caption>Metrics on the test "
      "split</caption><thead><tr><th scope=\"col\">Variant</th>";
  for (const MetricInfo& metric : data.metrics) {
    html += fmt::format(
        "<th scope=\"col\">{} <span class=\"dir\" title=\"{} is better\">{}</span></th>",
        escape_html(metric.name), metric.higher_is_better ? "higher" : "lower",
        metric.higher_is_better ? "↑" : "↓");
  }
  html += fmt::format("<th scope=\"col\">{} against {}</th></tr></thead><tbody>\n",
                      escape_html(data.metrics[0].name), escape_html(data.variants[0].name));
  for (size_t index = 0; index < data.variants.size(); ++index) {
    const VariantResult& variant = data.variants[index];
    html += fmt::format("<tr><th scope=\"row\"><i class=\"dot\" style=\"--accent:var({})\"></i>{}",
                        series_color(index), escape_html(variant.name));
    if (!variant.description.empty())
      html += fmt::format("<small>{}</small>", escape_html(variant.description));
    html += "</th>";
    for (size_t metric = 0; metric < data.metrics.size(); ++metric)
      html += result_cell(data.metrics[metric], variant.metrics[metric],
                          best_variant(data, metric) == index);
    html += fmt::format("<td class=\"words\">{}</td></tr>\n", verdict_badge(data, index, 0));
  }
  html += "</tbody></table></div>\n<p class=\"small\">Mean over seeds ± sample standard deviation";
  if (!data.interval_name.empty()) html += "; below it, the " + escape_html(data.interval_name);
  return html + ". The best mean of each metric is bold.</p>\n";
}

// Every metric by seed, with its own test.
std::string seed_table(const ReportData& data) {
  std::string html =
      "<details class=\"data\"><summary>Every seed, and the test of every metric</summary>\n<div "
      "class=\"scroll\" tabindex=\"0\"><table><caption>Test split by seed</caption><thead><tr><th "
      "scope=\"col\">Metric</th><th scope=\"col\">Variant</th>";
  for (const int64_t seed : data.seeds)
    html += fmt::format("<th scope=\"col\">seed {}</th>", seed);
  html += "<th scope=\"col\">Difference</th><th scope=\"col\">Verdict</th></tr></thead><tbody>\n";
  for (size_t metric = 0; metric < data.metrics.size(); ++metric) {
    for (size_t index = 0; index < data.variants.size(); ++index) {
      const MetricResult& result = data.variants[index].metrics[metric];
      if (result.per_seed.empty()) continue;
      html += fmt::format("<tr><th scope=\"row\">{}</th><td class=\"words\">{}</td>",
                          escape_html(data.metrics[metric].name),
                          escape_html(data.variants[index].name));
      for (const double value : result.per_seed)
        html += fmt::format("<td>{}</td>", metric_text(data.metrics[metric], value));
      html += fmt::format("<td>{}</td><td class=\"words\">{}</td></tr>\n",
                          index == 0 ? kDash : difference_of(data, index, metric),
                          escape_html(verdict(data, index, metric)));
    }
  }
  return html + "</tbody></table></div></details>\n";
}

std::string meanings(const ReportData& data) {
  std::string html = "<dl class=\"meanings\">";
  for (const MetricInfo& metric : data.metrics) {
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape_html(metric.name),
                        escape_html(metric.meaning));
  }
  return html + "</dl>\n";
}

Chart interval_chart(const ReportData& data) {
  Chart chart{.kind = Chart::Kind::kInterval,
              .id = "chart-seeds",
              .title = data.metrics[0].name + " on the test split: seeds, mean and interval",
              .summary =
                  "Differences smaller than the intervals and the spread of the seeds say "
                  "little.",
              .x_title = data.metrics[0].name,
              .y_title = "Variant",
              .x = {},
              .x_note = {},
              .x_note_title = {},
              .percent = data.metrics[0].percent,
              .decimals = data.metrics[0].decimals,
              .series = {}};
  for (const int64_t seed : data.seeds)
    chart.x.push_back(fmt::format("seed {}", seed));
  for (size_t index = 0; index < data.variants.size(); ++index) {
    const MetricResult& result = data.variants[index].metrics[0];
    ChartSeries series{.name = data.variants[index].name,
                       .group = data.variants[index].name,
                       .color = series_color(index),
                       .values = result.per_seed};
    series.mean = mean_of(result);
    if (result.interval) {
      series.low = result.interval->low;
      series.high = result.interval->high;
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

size_t variant_index(const ReportData& data, const std::string& name) {
  const auto found =
      std::find_if(data.variants.begin(), data.variants.end(),
                   [&](const VariantResult& variant) { return variant.name == name; });
  return static_cast<size_t>(found - data.variants.begin());
}

Chart curve_chart(const ReportData& data, const std::string& id, const std::string& title,
                  double CurvePoint::*value) {
  Chart chart;
  chart.id = id;
  chart.title = title;
  chart.summary = "One line per variant and seed; a ring marks the epoch that was kept.";
  chart.x_title = "Epoch";
  chart.y_title = title;
  int64_t last = 0;
  for (const Curve& curve : data.curves)
    for (const CurvePoint& point : curve.points)
      last = std::max(last, point.epoch);
  for (int64_t epoch = 1; epoch <= last; ++epoch)
    chart.x.push_back(fmt::format("{}", epoch));
  for (const Curve& curve : data.curves) {
    ChartSeries series{.name = fmt::format("{}, seed {}", curve.variant, curve.seed),
                       .group = curve.variant,
                       .color = series_color(variant_index(data, curve.variant)),
                       .values = std::vector<double>(static_cast<size_t>(last), std::nan(""))};
    for (const CurvePoint& point : curve.points) {
      if (point.epoch < 1) continue;
      series.values[static_cast<size_t>(point.epoch - 1)] = point.*value;
      if (point.epoch == curve.best_epoch) series.mark = static_cast<int>(point.epoch - 1);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string lower_first(std::string text) {
  if (text.size() > 1 && text[1] >= 'a' && text[1] <= 'z')
    text.replace(0, 1, to_lower(text.substr(0, 1)));
  return text;
}

// The buckets between the first and the last one that have rows.
std::pair<size_t, size_t> filled_buckets(const Slice& slice) {
  size_t begin = 0, end = slice.rows.size();
  while (begin < end && slice.rows[begin] == 0)
    ++begin;
  while (end > begin && slice.rows[end - 1] == 0)
    --end;
  return {begin, end};
}

Chart slice_chart(const ReportData& data, const Slice& slice, size_t index) {
  Chart chart;
  chart.id = fmt::format("chart-slice-{}", index);
  chart.title = data.sliced + " by " + lower_first(slice.title);
  chart.summary = "One line per variant over " + slice.meaning + ".";
  chart.x_title = slice.meaning;
  chart.y_title = data.sliced;
  chart.x_note_title = "rows";
  const auto [begin, end] = filled_buckets(slice);
  for (size_t bucket = begin; bucket < end; ++bucket) {
    chart.x.push_back(slice.buckets[bucket]);
    chart.x_note.push_back(with_commas(slice.rows[bucket]));
  }
  for (const SliceSeries& entry : slice.series) {
    chart.series.push_back({.name = entry.variant,
                            .group = entry.variant,
                            .color = series_color(variant_index(data, entry.variant)),
                            .values = {entry.values.begin() + static_cast<std::ptrdiff_t>(begin),
                                       entry.values.begin() + static_cast<std::ptrdiff_t>(end)}});
  }
  return chart;
}

}  // namespace

void add_result_section(Page& page, const ReportData& data) {
  if (data.variants.empty() || data.metrics.empty()) return;
  std::string introduction;
  if (!data.test_name.empty()) {
    introduction = fmt::format("Verdicts come from a {}; p below {} counts as a difference.",
                               data.test_name, data.significance);
  }
  page.open_section("result", "Result", introduction);
  page.body += cards(data) + result_table(data) + seed_table(data);
  page.add_figures({interval_chart(data)});
  page.body += meanings(data);
  page.close_section();
}

void add_curves_section(Page& page, const ReportData& data) {
  if (data.curves.empty()) return;
  page.open_section(
      "curves", "Learning curves",
      "One line per variant and seed; a ring marks the epoch whose weights were kept.");
  page.add_figures(
      {curve_chart(data, "chart-loss", "Training loss", &CurvePoint::train_loss),
       curve_chart(data, "chart-valid", data.metrics.front().name + " on the validation split",
                   &CurvePoint::valid)});
  page.close_section();
}

void add_slices_section(Page& page, const ReportData& data) {
  if (data.slices.empty()) return;
  page.open_section("slices", "Where it helps",
                    data.sliced +
                        " on parts of the test split, mean over seeds. Below each part, "
                        "its number of rows: parts with few rows are noisy.");
  std::vector<Chart> figures;
  for (size_t index = 0; index < data.slices.size(); ++index)
    figures.push_back(slice_chart(data, data.slices[index], index));
  page.add_figures(std::move(figures));
  page.close_section();
}

}  // namespace llmcf::pipeline
