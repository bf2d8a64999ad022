// What was retrieved: similarities, and test rows with their examples and chains of thought.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/strings.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline {

namespace {

constexpr size_t kShortHistory = 6;

std::string similarity_table(const ReportData& data) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\"><table><caption>Retrieved examples by split</caption>"
      "<thead><tr><th scope=\"col\">Split</th><th scope=\"col\">Rows</th><th scope=\"col\">Slots "
      "per "
      "row</th><th scope=\"col\">Rows with an example</th><th scope=\"col\">Slots left "
      "empty</th><th "
      "scope=\"col\">Pool used</th><th scope=\"col\">Mean similarity, positive</th><th "
      "scope=\"col\">negative</th></tr></thead><tbody>\n";
  for (const SplitSimilarity& split : data.similarity) {
    html += fmt::format(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}"
        "</td><td>{}</td></tr>\n",
        escape_html(split.split), with_commas(split.rows), split.slots, share_text(split.coverage),
        share_text(split.masked_share), share_text(split.pool_used),
        number_text(split.mean_positive, 3), number_text(split.mean_negative, 3));
  }
  return html + "</tbody></table></div>\n";
}

std::string label_badge(int64_t label) {
  return label > 0 ? "<span class=\"badge taken\">label 1: taken</span>"
                   : "<span class=\"badge passed\">label 0: not taken</span>";
}

std::string title_list(const std::vector<std::string>& titles, size_t begin) {
  std::string html = "<ol class=\"titles\">";
  for (size_t index = begin; index < titles.size(); ++index)
    html += fmt::format("<li>{}</li>", escape_html(titles[index]));
  return html + "</ol>";
}

// The most recent titles; all of them behind a fold if there are more.
std::string history_html(const std::vector<std::string>& titles) {
  if (titles.empty()) return "<p class=\"quiet\">No history.</p>";
  const size_t begin = titles.size() > kShortHistory ? titles.size() - kShortHistory : 0;
  std::string html;
  if (begin > 0) {
    const std::vector<std::string> earlier(titles.begin(),
                                           titles.begin() + static_cast<std::ptrdiff_t>(begin));
    html = fmt::format("<details class=\"earlier\"><summary>{} earlier</summary>{}</details>",
                       begin, title_list(earlier, 0));
  }
  return html + title_list(titles, begin);
}

std::string score_list(const ReportData& data, const TestRow& row) {
  std::string html = "<ul class=\"scores\">";
  for (size_t index = 0; index < row.scores.size(); ++index) {
    const double score = row.scores[index];
    const double width = std::isnan(score) ? 0 : std::clamp(score, 0.0, 1.0) * 100;
    html += fmt::format(
        "<li><span class=\"name\">{}</span><span class=\"track\" aria-hidden=\"true\"><span "
        "class=\"bar\" style=\"width:{:.1f}%;--accent:var({})\"></span></span><span "
        "class=\"value\">{}</span></li>",
        escape_html(data.variants[index].name), width, series_color(index), number_text(score, 3));
  }
  return html + "</ul>";
}

std::string example_html(const ReportData& data, const RetrievedExample& example, bool open) {
  std::string history;
  const size_t count = example.history.size();
  for (size_t index = count > 3 ? count - 3 : 0; index < count; ++index)
    history += (history.empty() ? "" : " · ") + escape_html(example.history[index]);
  if (count > 3) history = fmt::format("{} earlier · ", count - 3) + history;
  std::string html = fmt::format(
      "<li class=\"example\"><div class=\"line\"><span class=\"similarity\"><span "
      "class=\"quiet\">similarity</span> {}</span>{}<strong>{}</strong></div><p "
      "class=\"quiet\">After: "
      "{}</p>",
      number_text(example.similarity, 3), label_badge(example.label), escape_html(example.target),
      history.empty() ? "nothing" : history);
  if (!example.cot.empty()) {
    html += fmt::format(
        "<details{}><summary>Chain of thought <span class=\"chip\">{}</span></summary><p "
        "class=\"cot\">{}</p></details>",
        open ? " open" : "", escape_html(data.reasoner), escape_html(example.cot));
  }
  return html + "</li>\n";
}

std::string row_html(const ReportData& data, const TestRow& row, size_t number) {
  std::string html = fmt::format(
      "<article class=\"row\">\n<h3><span class=\"quiet\">{}.</span> {}</h3>\n<p class=\"line\">{} "
      "<span "
      "class=\"quiet\">user {}</span></p>\n<div class=\"split\"><div><h4>History, oldest "
      "first</h4>{}</div><div><h4>{}</h4>{}</div></div>\n",
      number, escape_html(row.target), label_badge(row.label), escape_html(row.user),
      history_html(row.history), escape_html(data.score), score_list(data, row));
  if (row.examples.empty()) {
    html += "<p class=\"quiet\">No example could be retrieved.</p>\n";
  } else {
    html += fmt::format("<h4>{} retrieved example{}</h4>\n<ol class=\"examples\">\n",
                        row.examples.size(), row.examples.size() == 1 ? "" : "s");
    for (size_t index = 0; index < row.examples.size(); ++index)
      html += example_html(data, row.examples[index], number == 1 && index == 0);
    html += "</ol>\n";
  }
  return html + "</article>\n";
}

}  // namespace

Chart similarity_chart(const std::string& id, const std::string& title,
                       const std::vector<double>& edges, const std::vector<SimilaritySeries>& all) {
  Chart chart;
  chart.kind = Chart::Kind::kSteps;
  chart.id = id;
  chart.title = title;
  chart.summary = "Share of the retrieved examples by similarity to the row.";
  chart.x_title = "Similarity";
  chart.y_title = "Share of the examples";
  chart.percent = true;
  chart.decimals = 1;
  for (size_t bin = 0; bin + 1 < edges.size(); ++bin) {
    chart.x.push_back(
        fmt::format("{}–{}", number_text(edges[bin], 2), number_text(edges[bin + 1], 2)));
  }
  for (size_t entry = 0; entry < all.size(); ++entry) {
    const SimilaritySeries& counted = all[entry];
    int64_t total = 0;
    for (const int64_t count : counted.counts)
      total += count;
    ChartSeries series{.name = counted.label,
                       .group = counted.label,
                       .color = entry == 0   ? "--positive"
                                : entry == 1 ? "--negative"
                                             : series_color(entry),
                       .values = {}};
    for (const int64_t count : counted.counts)
      series.values.push_back(total == 0 ? 0
                                         : static_cast<double>(count) / static_cast<double>(total));
    chart.series.push_back(std::move(series));
  }
  return chart;
}

void add_similarity_section(Page& page, const ReportData& data) {
  if (data.similarity.empty()) return;
  page.open_section("similarity", "Retrieved examples",
                    "How similar the examples are to the rows they were retrieved for.");
  page.body += similarity_table(data);
  std::vector<Chart> figures;
  for (size_t index = 0; index < data.similarity.size(); ++index) {
    const SplitSimilarity& split = data.similarity[index];
    if (!split.series.empty())
      figures.push_back(similarity_chart(fmt::format("chart-similarity-{}", index),
                                         "Similarity of the examples, " + split.split, split.edges,
                                         split.series));
  }
  if (!figures.empty()) page.add_figures(std::move(figures));
  page.close_section();
}

void add_rows_section(Page& page, const ReportData& data) {
  if (data.rows.empty()) return;
  const std::string writer =
      data.reasoner.empty() ? ""
                            : fmt::format(" Chains of thought were written by: {}.", data.reasoner);
  page.open_section("rows", "Test rows, looked at",
                    fmt::format("{} rows of the test split with the score of each variant and the "
                                "examples that were retrieved for them.{}",
                                data.rows.size(), writer));
  for (size_t index = 0; index < data.rows.size(); ++index)
    page.body += row_html(data, data.rows[index], index + 1);
  page.close_section();
}

}  // namespace llmcf::pipeline
