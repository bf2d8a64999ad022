// Charts as figures and tables in HTML, and as JSON for the script that draws them.
#include "pipeline/report/chart.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/strings.h"
#include "pipeline/report/format.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::ordered_json;

std::string value_text(const Chart& chart, double value) {
  return chart.percent ? share_text(value, chart.decimals) : number_text(value, chart.decimals);
}

std::string cell(const std::string& text) {
  return fmt::format("<td>{}</td>", escape_html(text));
}

std::string head(const std::string& text) {
  return fmt::format("<th scope=\"col\">{}</th>", escape_html(text));
}

// Rows are the categories, columns the series.
std::string category_table(const Chart& chart) {
  std::string html = "<thead><tr>" + head(chart.x_title);
  if (!chart.x_note.empty()) html += head(chart.x_note_title);
  for (const ChartSeries& series : chart.series)
    html += head(series.name);
  html += "</tr></thead><tbody>";
  for (size_t row = 0; row < chart.x.size(); ++row) {
    html += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(chart.x[row]));
    if (!chart.x_note.empty()) html += cell(chart.x_note[row]);
    for (const ChartSeries& series : chart.series)
      html += cell(row < series.values.size() ? value_text(chart, series.values[row]) : kDash);
    html += "</tr>";
  }
  return html + "</tbody>";
}

// Rows are the series.
std::string interval_table(const Chart& chart) {
  std::string html = "<thead><tr>" + head(chart.y_title);
  for (const std::string& seed : chart.x)
    html += head(seed);
  html += head("mean") + head("low") + head("high") + "</tr></thead><tbody>";
  for (const ChartSeries& series : chart.series) {
    html += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(series.name));
    for (size_t seed = 0; seed < chart.x.size(); ++seed)
      html += cell(seed < series.values.size() ? value_text(chart, series.values[seed]) : kDash);
    for (const double value : {series.mean, series.low, series.high})
      html += cell(value_text(chart, value));
    html += "</tr>";
  }
  return html + "</tbody>";
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json series_json(const ChartSeries& series) {
  Json values = Json::array();
  for (const double value : series.values)
    values.push_back(number(value));
  return {{"name", series.name},         {"group", series.group},       {"color", series.color},
          {"mark", series.mark},         {"values", std::move(values)}, {"low", number(series.low)},
          {"mean", number(series.mean)}, {"high", number(series.high)}};
}

const char* kind_name(Chart::Kind kind) {
  switch (kind) {
    case Chart::Kind::kLines:
      return "lines";
    case Chart::Kind::kSteps:
      return "steps";
    case Chart::Kind::kInterval:
      return "interval";
  }
  return "";
}

}  // namespace

std::string series_color(size_t variant) {
  return fmt::format("--series-{}", variant % 8);
}

std::string figure_html(const Chart& chart) {
  const std::string table =
      chart.kind == Chart::Kind::kInterval ? interval_table(chart) : category_table(chart);
  const std::string height = chart.kind == Chart::Kind::kInterval
                                 ? fmt::format(" style=\"height:{}rem\"",
                                               6 + 2.5 * static_cast<double>(chart.series.size()))
                                 : "";
  return fmt::format(
      "<figure>\n<figcaption>{title}</figcaption>\n"
      "<div class=\"plot\"{height}><canvas id=\"{id}\" role=\"img\" aria-label=\"{title}. "
      "{summary}\"></canvas></div>\n"
      "<details class=\"data\"><summary>Numbers of this chart</summary>\n"
      "<div class=\"scroll\" tabindex=\"0\"><table><caption>{title}</caption>{table}</table></div>"
      "</details>\n</figure>\n",
      fmt::arg("title", escape_html(chart.title)), fmt::arg("summary", escape_html(chart.summary)),
      fmt::arg("height", height), fmt::arg("id", escape_html(chart.id)), fmt::arg("table", table));
}

std::string charts_json(const std::vector<Chart>& charts) {
  Json list = Json::array();
  for (const Chart& chart : charts) {
    Json series = Json::array();
    for (const ChartSeries& entry : chart.series)
      series.push_back(series_json(entry));
    list.push_back({{"id", chart.id},
                    {"kind", kind_name(chart.kind)},
                    {"x", chart.x},
                    {"xNote", chart.x_note},
                    {"xTitle", chart.x_title},
                    {"yTitle", chart.y_title},
                    {"percent", chart.percent},
                    {"decimals", chart.decimals},
                    {"series", std::move(series)}});
  }
  std::string text;
  for (const char c : list.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<')
      text += "\\u003c";  // neither </script> nor <!-- can appear
    else
      text += c;
  }
  return text;
}

}  // namespace llmcf::pipeline
