// The analysis of a retrieval as JSON, for programs.
#include <cmath>

#include <nlohmann/json.hpp>

#include "pipeline/report/analysis.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json interval_json(const Interval& interval) {
  return Json::array({number(interval.low), number(interval.high)});
}

Json figures_json(const RetrievalFigures& figures) {
  Json attributes = Json::object();
  for (const AttributeAgreement& attribute : figures.attributes)
    attributes[attribute.name] = {{"share", number(attribute.share)},
                                  {"shuffled", number(attribute.shuffled)}};
  return {{"name", figures.name},
          {"rows", figures.rows},
          {"filled", number(figures.filled)},
          {"mean_positive", number(figures.positive)},
          {"mean_negative", number(figures.negative)},
          {"auc_rows", figures.auc_rows},
          {"auc", number(figures.auc)},
          {"auc_interval", interval_json(figures.auc_interval)},
          {"shuffled_auc", number(figures.shuffled_auc)},
          {"shuffled_interval", interval_json(figures.shuffled_interval)},
          {"p_value", number(figures.p_value)},
          {"history_auc", number(figures.history_auc)},
          {"target_auc", number(figures.target_auc)},
          {"same_label", number(figures.same_label)},
          {"weighted_same_label", number(figures.weighted_same_label)},
          {"shuffled_same_label", number(figures.shuffled_same_label)},
          {"coverage", number(figures.coverage)},
          {"gini", number(figures.gini)},
          {"top_percent", number(figures.top_percent)},
          {"attributes", std::move(attributes)}};
}

Json summaries_json(const RetrievalAnalysis& analysis) {
  Json list = Json::array();
  for (const SimilaritySummary& summary : analysis.similarity)
    list.push_back(
        {{"name", summary.name},
         {"slots", summary.slots},
         {"mean", number(summary.mean)},
         {"quantiles",
          Json::array({number(summary.low), number(summary.quarter), number(summary.median),
                       number(summary.three_quarters), number(summary.high)})}});
  return list;
}

Json histograms_json(const RetrievalAnalysis& analysis) {
  Json list = Json::array();
  for (const SimilarityHistogram& histogram : analysis.histograms) {
    Json series = Json::object();
    for (const SimilaritySeries& entry : histogram.series)
      series[entry.label] = entry.counts;
    list.push_back(
        {{"title", histogram.title}, {"edges", histogram.edges}, {"counts", std::move(series)}});
  }
  return list;
}

}  // namespace

std::string analysis_json(const RetrievalAnalysis& analysis) {
  Json cuts = Json::array();
  for (const RetrievalCut& cut : analysis.cuts) {
    Json buckets = Json::array();
    for (const RetrievalFigures& figures : cut.buckets)
      buckets.push_back(figures_json(figures));
    cuts.push_back({{"title", cut.title}, {"meaning", cut.meaning}, {"buckets", buckets}});
  }
  Json frequent = Json::array();
  for (const FrequentExample& example : analysis.frequent)
    frequent.push_back({{"uses", example.uses},
                        {"label", example.label},
                        {"history", example.history},
                        {"target", example.target},
                        {"cot", example.cot}});
  const Json json = {{"format", 1},
                     {"title", analysis.title},
                     {"created", analysis.created},
                     {"protocol", analysis.protocol},
                     {"reasoners", analysis.reasoners},
                     {"split", analysis.split},
                     {"k", analysis.k},
                     {"pool", analysis.pool},
                     {"permutations", analysis.permutations},
                     {"seed", analysis.seed},
                     {"all", figures_json(analysis.all)},
                     {"similarity", summaries_json(analysis)},
                     {"histograms", histograms_json(analysis)},
                     {"cuts", std::move(cuts)},
                     {"most_retrieved", std::move(frequent)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace llmcf::pipeline
