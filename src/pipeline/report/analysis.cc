// The analysis of a retrieval as tables, for a terminal and in Markdown.
#include "pipeline/report/analysis.h"

#include <cmath>

#include <fmt/format.h>

#include "core/strings.h"
#include "pipeline/report/analysis_tables.h"
#include "pipeline/report/format.h"

namespace llmcf::pipeline {

namespace {

std::string auc_text(const RetrievalFigures& figures) {
  if (std::isnan(figures.auc)) return kDash;
  return fmt::format("{} [{}, {}]", number_text(figures.auc, 3),
                     number_text(figures.auc_interval.low, 3),
                     number_text(figures.auc_interval.high, 3));
}

std::string shuffled_text(const RetrievalFigures& figures) {
  if (std::isnan(figures.shuffled_auc)) return kDash;
  return fmt::format("{} [{}, {}]", number_text(figures.shuffled_auc, 3),
                     number_text(figures.shuffled_interval.low, 3),
                     number_text(figures.shuffled_interval.high, 3));
}

// The whole split, one figure per line.
CaptionedGrid overview(const RetrievalAnalysis& analysis) {
  const RetrievalFigures& all = analysis.all;
  return {.caption = "The whole split",
          .grid = Grid::of(
              {{"figure", "retrieved", "shuffled"},
               {"AUC of similarity to positives - to negatives", auc_text(all), shuffled_text(all)},
               {"p-value of that AUC",
                std::isnan(all.p_value) ? kDash : number_text(all.p_value, 4), ""},
               {"AUC by the similarity of histories alone", number_text(all.history_auc, 3), ""},
               {"AUC by the similarity of targets alone", number_text(all.target_auc, 3), ""},
               {"slots with the row's label, by similarity", share_text(all.weighted_same_label, 2),
                share_text(all.shuffled_same_label, 2)},
               {"slots with the row's label", share_text(all.same_label, 2), ""},
               {"slots filled", share_text(all.filled, 2), ""},
               {"pool retrieved at least once", share_text(all.coverage, 2), ""},
               {"uses on the most used 1 % of the pool", share_text(all.top_percent, 2), ""},
               {"Gini coefficient of the uses", number_text(all.gini, 3), ""}})};
}

CaptionedGrid similarity_summary(const RetrievalAnalysis& analysis) {
  Grid grid =
      Grid::with_header({"similarity", "slots", "mean", "5 %", "25 %", "50 %", "75 %", "95 %"});
  for (const SimilaritySummary& summary : analysis.similarity) {
    Grid::Row row = {summary.name, with_commas(summary.slots)};
    for (const double value : {summary.mean, summary.low, summary.quarter, summary.median,
                               summary.three_quarters, summary.high})
      row.push_back(number_text(value, 3));
    grid.rows.push_back(std::move(row));
  }
  return {.caption = "Similarity of the filled slots", .grid = std::move(grid)};
}

CaptionedGrid attribute_table(const RetrievalAnalysis& analysis) {
  Grid grid = Grid::with_header({"attribute", "retrieved", "shuffled", "times chance"});
  for (const AttributeAgreement& attribute : analysis.all.attributes) {
    const double times = attribute.shuffled > 0 ? attribute.share / attribute.shuffled : kNoFigure;
    grid.rows.push_back({attribute.name, share_text(attribute.share, 2),
                         share_text(attribute.shuffled, 2), number_text(times, 1)});
  }
  return {.caption = "Attributes that the example's target shares with the row's",
          .grid = std::move(grid)};
}

CaptionedGrid cut_table(const RetrievalCut& cut) {
  Grid grid = Grid::with_header({cut.title, "rows", "slots filled", "positive", "negative", "AUC",
                                 "shuffled", "row's label", "pool used", "Gini"});
  for (const RetrievalFigures& figures : cut.buckets)
    grid.rows.push_back({figures.name, with_commas(figures.rows), share_text(figures.filled),
                         number_text(figures.positive, 3), number_text(figures.negative, 3),
                         auc_text(figures), number_text(figures.shuffled_auc, 3),
                         share_text(figures.weighted_same_label), share_text(figures.coverage),
                         number_text(figures.gini, 3)});
  return {.caption = cut.title, .grid = std::move(grid)};
}

CaptionedGrid cut_attributes(const RetrievalCut& cut) {
  Grid::Row header = {cut.title, "rows"};
  if (!cut.buckets.empty()) {
    for (const AttributeAgreement& attribute : cut.buckets[0].attributes)
      header.push_back(attribute.name);
  }
  Grid grid = Grid::with_header(std::move(header));
  for (const RetrievalFigures& figures : cut.buckets) {
    Grid::Row row = {figures.name, with_commas(figures.rows)};
    for (const AttributeAgreement& attribute : figures.attributes)
      row.push_back(share_text(attribute.share));
    grid.rows.push_back(std::move(row));
  }
  return {.caption = cut.title + ": attributes", .grid = std::move(grid)};
}

}  // namespace

CaptionedGrid frequent_table(const RetrievalAnalysis& analysis) {
  Grid grid = Grid::with_header({"target", "uses", "label", "history", "chain of thought"});
  grid.left.back() = true;
  for (const FrequentExample& example : analysis.frequent)
    grid.rows.push_back({example.target, with_commas(example.uses),
                         fmt::format("{}", example.label), fmt::format("{}", example.history),
                         example.cot});
  return {.caption = "Most retrieved examples", .grid = std::move(grid)};
}

std::vector<TitledTables> analysis_tables(const RetrievalAnalysis& analysis) {
  std::vector<TitledTables> tables = {{"Agreement and coverage", "", {overview(analysis)}},
                                      {"Similarity", "", {similarity_summary(analysis)}},
                                      {"Attributes", "", {attribute_table(analysis)}}};
  for (const RetrievalCut& cut : analysis.cuts)
    tables.push_back(
        {"By " + to_lower(cut.title), cut.meaning, {cut_table(cut), cut_attributes(cut)}});
  return tables;
}

std::string analysis_heading(const RetrievalAnalysis& analysis) {
  return fmt::format("{}: retrieval for the {} split, {} rows, {} slots each, pool of {} examples",
                     analysis.title, analysis.split, with_commas(analysis.all.rows), analysis.k,
                     with_commas(analysis.pool));
}

std::string analysis_text(const RetrievalAnalysis& analysis) {
  std::string text = analysis_heading(analysis) + "\n";
  for (const TitledTables& section : analysis_tables(analysis)) {
    for (const CaptionedGrid& table : section.tables)
      text += "\n" + grid_text(table.grid);
  }
  return text;
}

std::string analysis_markdown(const RetrievalAnalysis& analysis) {
  std::string text = fmt::format("# {}\n", analysis_heading(analysis));
  for (const TitledTables& section : analysis_tables(analysis)) {
    text += fmt::format("\n## {}\n", section.title);
    if (!section.meaning.empty()) text += fmt::format("\nRows by {}.\n", section.meaning);
    for (const CaptionedGrid& table : section.tables)
      text += "\n" + grid_markdown(table.grid);
  }
  return text + "\n## Most retrieved examples\n\n" + grid_markdown(frequent_table(analysis).grid);
}

}  // namespace llmcf::pipeline
