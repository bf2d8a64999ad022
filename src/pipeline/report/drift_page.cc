// The page of a drift study: verdict, charts by window, tables, configuration.
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/strings.h"
#include "pipeline/report/drift_report.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline {

namespace {

std::string checks_html(const DriftData& data) {
  if (data.checks.empty())
    return "<p class=\"note\">No thresholds are set in section drift: nothing was judged.</p>\n";
  std::string html = "<ul>\n";
  for (const DriftCheck& check : data.checks) {
    html += fmt::format("<li><span class=\"badge {}\">{}</span> {}</li>\n",
                        check.violated ? "bad" : "good", status_text(check),
                        escape_html(check_text(check)));
  }
  return html + "</ul>\n";
}

// One card per series: its AUC in the newest window and what became of it since the first.
std::string cards(const DriftData& data) {
  const MetricInfo auc = standard_metrics()[0];
  std::string html = "<div class=\"cards\">\n";
  for (size_t index = 0; index < data.series.size(); ++index) {
    const DriftSeries& series = data.series[index];
    const double newest = mean_of(series.auc.back());
    html += fmt::format(
        "<div class=\"card\" style=\"--accent:var({})\"><h3>{}</h3><p class=\"figure\"><span "
        "class=\"unit\">AUC</span> {}</p><p><span class=\"delta\">{} since the first "
        "window</span></p></div>\n",
        series_color(index), escape_html(series.name()), escape_html(metric_text(auc, newest)),
        escape_html(difference_text(auc, newest - mean_of(series.auc.front()))));
  }
  return html + "</div>\n";
}

// A chart over the windows without its lines.
Chart window_chart(const DriftData& data, const std::string& id, const std::string& title,
                   const std::string& summary) {
  Chart chart;
  chart.id = id;
  chart.title = title;
  chart.summary = summary;
  chart.x_title = "First day of the window";
  chart.y_title = title;
  chart.x_note_title = "rows";
  for (const DriftWindow& window : data.windows) {
    chart.x.push_back(window.begin);
    chart.x_note.push_back(with_commas(window.rows));
  }
  return chart;
}

void add_line(Chart& chart, const std::string& name, std::vector<double> values) {
  chart.series.push_back({.name = name,
                          .group = name,
                          .color = series_color(chart.series.size()),
                          .values = std::move(values)});
}

Chart metric_chart(const DriftData& data, const std::string& id, const std::string& title,
                   std::vector<MetricResult> DriftSeries::*metric) {
  Chart chart = window_chart(data, id, title + " by window",
                             "One line per variant and pool, mean over seeds.");
  for (const DriftSeries& series : data.series) {
    std::vector<double> values;
    for (const MetricResult& result : series.*metric)
      values.push_back(mean_of(result));
    add_line(chart, series.name(), std::move(values));
  }
  return chart;
}

std::vector<double> pool_values(const DriftArm& arm, double DriftPool::*value) {
  std::vector<double> values;
  for (const DriftPool& pool : arm.windows)
    values.push_back(pool.*value);
  return values;
}

Chart similarity_chart(const DriftData& data) {
  Chart chart = window_chart(data, "chart-similarity", "Similarity of the retrieved examples",
                             "Mean score of the positive and the negative examples of each pool.");
  for (const DriftArm& arm : data.arms) {
    add_line(chart, arm.name + ", positives", pool_values(arm, &DriftPool::positive_similarity));
    add_line(chart, arm.name + ", negatives", pool_values(arm, &DriftPool::negative_similarity));
  }
  return chart;
}

Chart coverage_chart(const DriftData& data) {
  Chart chart = window_chart(
      data, "chart-coverage", "Coverage",
      "Shares of each window: positives whose item is in the pool, rows with K examples, and "
      "what the models have never seen.");
  chart.percent = true;
  chart.decimals = 1;
  for (const DriftArm& arm : data.arms) {
    add_line(chart, arm.name + ", items in the pool", pool_values(arm, &DriftPool::item_coverage));
    add_line(chart, arm.name + ", rows with K", pool_values(arm, &DriftPool::full_rows));
  }
  std::vector<double> users, items;
  for (const DriftWindow& window : data.windows) {
    users.push_back(window.cold_users);
    items.push_back(window.cold_items);
  }
  add_line(chart, "cold users", std::move(users));
  add_line(chart, "cold items", std::move(items));
  return chart;
}

Chart age_chart(const DriftData& data) {
  Chart chart = window_chart(data, "chart-age", "Median age of the retrieved examples (days)",
                             "How old the examples are when a row retrieves them.");
  chart.decimals = 0;
  for (const DriftArm& arm : data.arms)
    add_line(chart, arm.name, pool_values(arm, &DriftPool::age_days));
  return chart;
}

void add_sections(Page& page, const DriftData& data) {
  page.open_section("verdict", "Does it still hold?",
                    "AUC in the newest window, and the thresholds of the configuration.");
  page.body += cards(data) + checks_html(data);
  page.close_section();

  page.open_section(
      "quality", "Quality by window",
      "The models are trained once, on what is older than the first window. A fall of "
      "every line is the world changing; only the gap between a variant's pools is "
      "what a fresh pool is worth.");
  page.add_figures({metric_chart(data, "chart-auc", "AUC", &DriftSeries::auc),
                    metric_chart(data, "chart-loss", "LogLoss", &DriftSeries::log_loss)});
  page.close_section();

  if (!data.arms.empty()) {
    page.open_section("pools", "Pools by window", "");
    page.body += "<dl class=\"meanings\">";
    for (const DriftArm& arm : data.arms)
      page.body += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape_html(arm.name),
                               escape_html(arm.meaning));
    page.body += "</dl>\n";
    page.add_figures({similarity_chart(data), coverage_chart(data)});
    page.add_figures({age_chart(data)});
    page.close_section();
  }

  page.open_section("tables", "Every figure", "Mean over seeds ± sample standard deviation.");
  for (const auto& [caption, grid] : drift_grids(data))
    page.body += grid_html(grid, caption);
  page.close_section();

  page.open_section("run", "How it was made", "");
  page.body += key_value_table("Data set", data.dataset);
  page.body += fmt::format(
      "<details class=\"data\"><summary>Configuration</summary><pre>{}</pre></details>\n",
      escape_html(data.configuration));
  page.close_section();
}

}  // namespace

std::string drift_html(const DriftData& data) {
  Page page;
  add_sections(page, data);
  return page_html("Drift: " + data.title,
                   {{"Protocol", data.protocol},
                    {"Seeds", fmt::format("{}", fmt::join(data.seeds, ", "))},
                    {"Reasoner", data.reasoner},
                    {"Created", data.created}},
                   page);
}

}  // namespace llmcf::pipeline
