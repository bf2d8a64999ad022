// Charts as data: drawn by the page's script, repeated as a table for readers without it.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace llmcf::pipeline {

struct ChartSeries {
  std::string name = {};
  std::string group = {};           // series of one group share a legend entry; usually the name
  std::string color = {};           // custom property of the style sheet, e.g. "--series-0"
  std::vector<double> values = {};  // parallel to Chart::x; NaN leaves a gap
  int mark = -1;                    // index of the value drawn with a ring, e.g. the epoch kept
  // Kind interval only: values are the seeds' figures.
  double low = std::numeric_limits<double>::quiet_NaN();
  double mean = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct Chart {
  enum class Kind {
    kLines,     // values over categories
    kSteps,     // a histogram's outline, filled
    kInterval,  // one row per series: seeds as dots, mean, interval
  };

  Kind kind = Kind::kLines;
  std::string id = {};       // unique in the page
  std::string title = {};    // above the chart
  std::string summary = {};  // what a reader who cannot see it should know; one sentence
  std::string x_title = {};
  std::string y_title = {};
  std::vector<std::string> x = {};
  std::vector<std::string> x_note = {};  // shown below x, e.g. numbers of rows; may be empty
  std::string x_note_title = {};
  bool percent = false;
  int decimals = 4;
  std::vector<ChartSeries> series = {};
};

// Custom property for the n-th variant; they repeat after eight.
std::string series_color(size_t variant);

// <figure> with canvas and data table.
std::string figure_html(const Chart& chart);

// For the script: safe inside a <script> element.
std::string charts_json(const std::vector<Chart>& charts);

}  // namespace llmcf::pipeline
