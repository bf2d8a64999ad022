// The report of a drift study: plain data that the pipeline fills, and its renderings (terminal,
// Markdown, CSV, JSON, one self-contained HTML page).
//
// Invariants: those of report.h. Every list by window is as long as DriftData::windows.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/report/grid.h"
#include "pipeline/report/report.h"

namespace llmcf::pipeline {

struct DriftWindow {
  std::string begin;  // its first day
  std::string end;    // its last day
  int64_t rows = 0;
  double cold_users = 0;  // share of the rows whose user has no training row
  double cold_items = 0;  // share of the positives whose item is no positive of a training row
};

// What the pool of one arm gave the rows of one window.
struct DriftPool {
  int64_t examples = 0;   // in the pool
  double used = 0;        // share of the pool that some row retrieved
  double full_rows = 0;   // share of the rows that got all K examples
  double similarity = 0;  // mean score of the retrieved examples; NaN if there are none
  double positive_similarity = 0;
  double negative_similarity = 0;
  double item_coverage = 0;  // share of the positives whose item is the target of some example
  double age_days = 0;       // median age of the retrieved examples; NaN if there are none
};

struct DriftArm {
  std::string name;  // "frozen", "refreshed"
  std::string meaning;
  std::vector<DriftPool> windows;
};

// Quality of one variant under one arm, by window.
struct DriftSeries {
  std::string variant;
  std::string arm;  // empty: the variant reads no examples
  std::vector<MetricResult> auc, log_loss, group_auc;

  std::string name() const { return arm.empty() ? variant : variant + ", " + arm; }
};

// A threshold and what was measured against it.
struct DriftCheck {
  std::string key;   // "min_similarity"
  std::string what;  // "mean similarity of the frozen pool's examples"
  double value = 0;  // NaN counts as violated
  double limit = 0;
  bool violated = false;
};

struct DriftData {
  std::string title;
  std::string created;  // the one field that is a time
  std::string protocol;
  std::string reasoner;
  std::vector<int64_t> seeds;
  std::vector<KeyValue> dataset;
  std::string configuration;  // YAML as text
  std::vector<DriftWindow> windows;
  std::vector<DriftArm> arms;
  std::vector<DriftSeries> series;
  std::vector<DriftCheck> checks;

  bool violated() const;
};

// The tables of every rendering, with their captions.
std::vector<std::pair<std::string, Grid>> drift_grids(const DriftData& data);
// "min_similarity 0.4711 (at least 0.5) in the newest window: mean similarity of ...".
std::string check_text(const DriftCheck& check);
std::string status_text(const DriftCheck& check);  // "ok", "violated"

// Windows, quality, pools and checks, for a terminal.
std::string drift_text(const DriftData& data);
std::string drift_markdown(const DriftData& data);
// One line per window and series.
std::string drift_csv(const DriftData& data);
std::string drift_json(const DriftData& data);
// The page; everything inline.
std::string drift_html(const DriftData& data);

}  // namespace llmcf::pipeline
