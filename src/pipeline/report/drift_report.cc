// Tables, CSV and JSON of a drift study.
#include "pipeline/report/drift_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/strings.h"
#include "pipeline/report/format.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::ordered_json;

// The three metrics a series has.
struct SeriesMetric {
  const char* key;
  MetricInfo info;
  std::vector<MetricResult> DriftSeries::*values;
};

std::vector<SeriesMetric> series_metrics() {
  const std::vector<MetricInfo> infos = standard_metrics();
  return {{"auc", infos[0], &DriftSeries::auc},
          {"log_loss", infos[1], &DriftSeries::log_loss},
          {"gauc", infos[2], &DriftSeries::group_auc}};
}

Grid window_grid(const DriftData& data) {
  Grid grid =
      Grid::with_header({"window", "first day", "last day", "rows", "cold users", "cold items"});
  for (size_t index = 0; index < data.windows.size(); ++index) {
    const DriftWindow& window = data.windows[index];
    grid.rows.push_back({std::to_string(index + 1), window.begin, window.end,
                         with_commas(window.rows), share_text(window.cold_users),
                         share_text(window.cold_items)});
  }
  return grid;
}

Grid metric_grid(const DriftData& data, const SeriesMetric& metric) {
  Grid::Row header = {"window"};
  for (const DriftSeries& series : data.series)
    header.push_back(series.name());
  Grid grid = Grid::with_header(std::move(header));
  for (size_t index = 0; index < data.windows.size(); ++index) {
    Grid::Row row = {std::to_string(index + 1)};
    for (const DriftSeries& series : data.series)
      row.push_back(mean_text(metric.info, (series.*metric.values)[index]));
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

Grid pool_grid(const DriftData& data) {
  Grid grid =
      Grid::with_header({"window", "pool", "examples", "used", "rows with K", "similarity",
                         "positives", "negatives", "items in the pool", "median age (days)"});
  grid.left[1] = true;
  for (size_t index = 0; index < data.windows.size(); ++index) {
    for (const DriftArm& arm : data.arms) {
      const DriftPool& pool = arm.windows[index];
      grid.rows.push_back(
          {std::to_string(index + 1), arm.name, with_commas(pool.examples), share_text(pool.used),
           share_text(pool.full_rows), number_text(pool.similarity, 4),
           number_text(pool.positive_similarity, 4), number_text(pool.negative_similarity, 4),
           share_text(pool.item_coverage), number_text(pool.age_days, 0)});
    }
  }
  return grid;
}

const DriftArm* arm_of(const DriftData& data, const DriftSeries& series) {
  const auto found = std::find_if(data.arms.begin(), data.arms.end(),
                                  [&](const DriftArm& arm) { return arm.name == series.arm; });
  return found == data.arms.end() ? nullptr : &*found;
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json pool_json(const DriftPool& pool) {
  return {{"examples", pool.examples},
          {"used", number(pool.used)},
          {"full_rows", number(pool.full_rows)},
          {"similarity", number(pool.similarity)},
          {"positive_similarity", number(pool.positive_similarity)},
          {"negative_similarity", number(pool.negative_similarity)},
          {"item_coverage", number(pool.item_coverage)},
          {"age_days", number(pool.age_days)}};
}

Json result_json(const MetricResult& result) {
  Json seeds = Json::array();
  for (const double value : result.per_seed)
    seeds.push_back(number(value));
  return {{"mean", number(mean_of(result))},
          {"deviation", number(deviation_of(result))},
          {"per_seed", std::move(seeds)}};
}

Json series_json(const DriftSeries& series) {
  Json json = {{"variant", series.variant}, {"arm", series.arm}};
  for (const SeriesMetric& metric : series_metrics()) {
    Json windows = Json::array();
    for (const MetricResult& result : series.*metric.values)
      windows.push_back(result_json(result));
    json[metric.key] = std::move(windows);
  }
  return json;
}

}  // namespace

bool DriftData::violated() const {
  return std::any_of(checks.begin(), checks.end(),
                     [](const DriftCheck& check) { return check.violated; });
}

std::vector<std::pair<std::string, Grid>> drift_grids(const DriftData& data) {
  std::vector<std::pair<std::string, Grid>> grids = {{"Windows", window_grid(data)}};
  for (const SeriesMetric& metric : series_metrics())
    grids.emplace_back(metric.info.name + " by window", metric_grid(data, metric));
  if (!data.arms.empty()) grids.emplace_back("Pools by window", pool_grid(data));
  return grids;
}

std::string check_text(const DriftCheck& check) {
  return fmt::format("{} {} (at {} {}) in the newest window: {}", check.key,
                     number_text(check.value, 4), check.key.starts_with("min") ? "least" : "most",
                     check.limit, check.what);
}

std::string status_text(const DriftCheck& check) {
  return check.violated ? "violated" : "ok";
}

std::string drift_text(const DriftData& data) {
  std::string text;
  for (const auto& [caption, grid] : drift_grids(data))
    text += fmt::format("{}\n{}\n", caption, grid_text(grid));
  for (const DriftCheck& check : data.checks)
    text += fmt::format("{:<8}  {}\n", status_text(check), check_text(check));
  return text;
}

std::string drift_markdown(const DriftData& data) {
  std::string seeds =
      fmt::format("{} seed{}", data.seeds.size(), data.seeds.size() == 1 ? "" : "s");
  std::string text =
      fmt::format("# Drift: {}\n\n{}; protocol {}; {}.\n", data.title,
                  data.reasoner.empty() ? "no reasoner" : data.reasoner, data.protocol, seeds);
  for (const auto& [caption, grid] : drift_grids(data))
    text += fmt::format("\n## {}\n\n{}", caption, grid_markdown(grid));
  if (!data.arms.empty()) text += "\n";
  for (const DriftArm& arm : data.arms)
    text += fmt::format("* {}: {}.\n", arm.name, arm.meaning);
  if (!data.checks.empty()) text += "\n## Thresholds\n\n";
  for (const DriftCheck& check : data.checks)
    text += fmt::format("* {}: {}\n", status_text(check), check_text(check));
  return text;
}

std::string drift_csv(const DriftData& data) {
  Grid grid = Grid::with_header({"window",
                                 "first_day",
                                 "last_day",
                                 "rows",
                                 "cold_users",
                                 "cold_items",
                                 "variant",
                                 "arm",
                                 "auc",
                                 "auc_deviation",
                                 "log_loss",
                                 "log_loss_deviation",
                                 "gauc",
                                 "gauc_deviation",
                                 "pool_examples",
                                 "pool_used",
                                 "full_rows",
                                 "similarity",
                                 "positive_similarity",
                                 "negative_similarity",
                                 "item_coverage",
                                 "age_days"});
  for (size_t index = 0; index < data.windows.size(); ++index) {
    const DriftWindow& window = data.windows[index];
    for (const DriftSeries& series : data.series) {
      Grid::Row row = {std::to_string(index + 1),
                       window.begin,
                       window.end,
                       std::to_string(window.rows),
                       csv_number(window.cold_users),
                       csv_number(window.cold_items),
                       series.variant,
                       series.arm};
      for (const SeriesMetric& metric : series_metrics()) {
        const MetricResult& result = (series.*metric.values)[index];
        row.push_back(csv_number(mean_of(result)));
        row.push_back(csv_number(deviation_of(result)));
      }
      if (const DriftArm* arm = arm_of(data, series)) {
        const DriftPool& pool = arm->windows[index];
        row.push_back(std::to_string(pool.examples));
        for (const double value :
             {pool.used, pool.full_rows, pool.similarity, pool.positive_similarity,
              pool.negative_similarity, pool.item_coverage, pool.age_days})
          row.push_back(csv_number(value));
      }
      row.resize(grid.left.size());
      grid.rows.push_back(std::move(row));
    }
  }
  return grid_csv(grid);
}

std::string drift_json(const DriftData& data) {
  Json json = {{"format", 1},
               {"title", data.title},
               {"created", data.created},
               {"protocol", data.protocol},
               {"reasoner", data.reasoner},
               {"seeds", data.seeds},
               {"windows", Json::array()},
               {"arms", Json::array()},
               {"series", Json::array()},
               {"checks", Json::array()},
               {"violated", data.violated()},
               {"configuration", data.configuration}};
  for (const DriftWindow& window : data.windows) {
    json["windows"].push_back({{"first_day", window.begin},
                               {"last_day", window.end},
                               {"rows", window.rows},
                               {"cold_users", number(window.cold_users)},
                               {"cold_items", number(window.cold_items)}});
  }
  for (const DriftArm& arm : data.arms) {
    Json pools = Json::array();
    for (const DriftPool& pool : arm.windows)
      pools.push_back(pool_json(pool));
    json["arms"].push_back(
        {{"name", arm.name}, {"meaning", arm.meaning}, {"windows", std::move(pools)}});
  }
  for (const DriftSeries& series : data.series)
    json["series"].push_back(series_json(series));
  for (const DriftCheck& check : data.checks) {
    json["checks"].push_back({{"key", check.key},
                              {"what", check.what},
                              {"value", number(check.value)},
                              {"limit", check.limit},
                              {"violated", check.violated}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace llmcf::pipeline
