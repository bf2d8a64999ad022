// The analysis of a retrieval as a page: what it says, then similarities, cuts and examples.
#include <cmath>

#include <fmt/format.h>

#include "core/strings.h"
#include "pipeline/report/analysis_tables.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline {

namespace {

std::string html_of(const CaptionedGrid& table) {
  return grid_html(table.grid, table.caption);
}

std::string card(const std::string& title, const std::string& figure, const std::string& text,
                 const std::string& color) {
  return fmt::format(
      "<div class=\"card\" style=\"--accent:var({})\"><h3>{}</h3><p class=\"figure\">{}</p><p "
      "class=\"quiet\">{}</p></div>\n",
      color, escape_html(title), escape_html(figure), escape_html(text));
}

std::string cards(const RetrievalAnalysis& analysis) {
  const RetrievalFigures& all = analysis.all;
  const std::string agreement =
      std::isnan(all.auc)
          ? "No row has examples of both labels, or all rows have one label."
          : fmt::format("{} to {} over users; shuffled {}, {}",
                        number_text(all.auc_interval.low, 3), number_text(all.auc_interval.high, 3),
                        number_text(all.shuffled_auc, 3), p_text(all.p_value));
  return "<div class=\"cards\">\n" +
         card("Label agreement, AUC", number_text(all.auc, 3), agreement, series_color(1)) +
         card("Row's own label", share_text(all.weighted_same_label),
              fmt::format("of the slots, weighted by similarity; shuffled {}",
                          share_text(all.shuffled_same_label)),
              series_color(3)) +
         card(
             "Mean similarity", number_text(all.positive, 3),
             fmt::format("to positive examples; {} to negative ones", number_text(all.negative, 3)),
             "--positive") +
         card("Pool used", share_text(all.coverage),
              fmt::format("{} of the uses fall on the most used 1 %; Gini coefficient {}",
                          share_text(all.top_percent), number_text(all.gini, 3)),
              series_color(4)) +
         "</div>\n";
}

ChartSeries line(const std::string& name, const std::string& color, const RetrievalCut& cut,
                 double RetrievalFigures::*figure) {
  ChartSeries series{.name = name, .group = name, .color = color, .values = {}};
  for (const RetrievalFigures& figures : cut.buckets)
    series.values.push_back(figures.*figure);
  return series;
}

Chart cut_chart(const RetrievalCut& cut, const std::string& id, const std::string& title) {
  Chart chart;
  chart.id = id;
  chart.title = title + " by " + to_lower(cut.title);
  chart.summary = fmt::format("{} over {}.", title, cut.meaning);
  chart.x_title = cut.title;
  chart.x_note_title = "Rows";
  chart.decimals = 3;
  for (const RetrievalFigures& figures : cut.buckets) {
    chart.x.push_back(figures.name);
    chart.x_note.push_back(with_commas(figures.rows));
  }
  return chart;
}

std::vector<Chart> cut_charts(const RetrievalCut& cut, size_t index) {
  Chart agreement =
      cut_chart(cut, fmt::format("chart-agreement-{}", index), "Label agreement, AUC");
  agreement.series = {line("retrieved", series_color(1), cut, &RetrievalFigures::auc),
                      line("shuffled", series_color(0), cut, &RetrievalFigures::shuffled_auc)};
  Chart similarity = cut_chart(cut, fmt::format("chart-cut-{}", index), "Mean similarity");
  similarity.series = {line("positive examples", "--positive", cut, &RetrievalFigures::positive),
                       line("negative examples", "--negative", cut, &RetrievalFigures::negative)};
  return {std::move(agreement), std::move(similarity)};
}

void add_similarities(Page& page, const RetrievalAnalysis& analysis, const CaptionedGrid& table) {
  page.open_section("similarity", "Similarity",
                    "The score of an example is the weighted sum of two halves: how similar the "
                    "histories are, and how similar the targets are.");
  std::vector<Chart> figures;
  for (size_t index = 0; index < analysis.histograms.size(); ++index) {
    const SimilarityHistogram& histogram = analysis.histograms[index];
    figures.push_back(similarity_chart(fmt::format("chart-similarity-{}", index), histogram.title,
                                       histogram.edges, histogram.series));
  }
  page.body += html_of(table);
  page.add_figures(std::move(figures));
  page.close_section();
}

}  // namespace

std::string analysis_html(const RetrievalAnalysis& analysis) {
  const std::vector<TitledTables> sections = analysis_tables(analysis);
  Page page;
  page.open_section("agreement", "Do the examples say anything?",
                    "Each row gets a score: its mean similarity to positive examples minus that to "
                    "negative ones. The AUC says how well this score alone, without a model, tells "
                    "positive rows from negative ones; 0.5 is chance.");
  page.body += cards(analysis) + html_of(sections[0].tables[0]);
  page.close_section();
  add_similarities(page, analysis, sections[1].tables[0]);
  page.open_section("attributes", "Attributes",
                    "How often an example's target agrees with the row's, against the examples of "
                    "another row. Fields with several values count shared values over all values.");
  page.body += html_of(sections[2].tables[0]);
  page.close_section();
  for (size_t index = 0; index < analysis.cuts.size(); ++index) {
    const RetrievalCut& cut = analysis.cuts[index];
    page.open_section(fmt::format("cut-{}", index), sections[index + 3].title,
                      fmt::format("Rows by {}.", cut.meaning));
    page.add_figures(cut_charts(cut, index));
    for (const CaptionedGrid& table : sections[index + 3].tables)
      page.body += html_of(table);
    page.close_section();
  }
  page.open_section("frequent", "Most retrieved examples",
                    "Examples that many rows share say little about each of them.");
  page.body += html_of(frequent_table(analysis));
  page.close_section();
  return page_html(analysis.title + ": what was retrieved",
                   {{"Split", analysis.split},
                    {"Rows", with_commas(analysis.all.rows)},
                    {"Slots per row", fmt::format("{}", analysis.k)},
                    {"Pool", with_commas(analysis.pool) + " examples"},
                    {"Protocol", analysis.protocol},
                    {"Reasoner", analysis.reasoners},
                    {"Created", analysis.created}},
                   page);
}

}  // namespace llmcf::pipeline
