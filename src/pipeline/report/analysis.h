// The analysis of what was retrieved for one split: plain data that the pipeline fills, and its
// renderings (terminal, Markdown, JSON, one self-contained HTML page).
//
// Invariants: as report.h. A figure that is not defined is NaN and shown as a dash.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "pipeline/report/report.h"

namespace llmcf::pipeline {

inline constexpr double kNoFigure = std::numeric_limits<double>::quiet_NaN();

// How often examples agree with the row, e.g. in the target item's brand: a share in [0, 1] over
// the filled slots for which both sides have a value.
struct AttributeAgreement {
  std::string name;
  double share = kNoFigure;
  double shuffled = kNoFigure;  // with the examples of another row
};

// Figures of a set of rows.
struct RetrievalFigures {
  std::string name;  // "all", or the bucket
  int64_t rows = 0;
  double filled = kNoFigure;    // share of the slots that hold an example
  double positive = kNoFigure;  // mean similarity to examples of label 1
  double negative = kNoFigure;
  // AUC of (mean similarity to positive examples - to negative examples) as a score of the row's
  // label, over rows that have both.
  int64_t auc_rows = 0;
  double auc = kNoFigure;
  Interval auc_interval{kNoFigure, kNoFigure};  // bootstrap over users
  double shuffled_auc = kNoFigure;              // mean over permutations of the labels
  Interval shuffled_interval{kNoFigure, kNoFigure};
  double p_value = kNoFigure;
  double history_auc = kNoFigure;  // the same by the similarity of histories alone
  double target_auc = kNoFigure;   // and of targets alone
  // Share of the slots whose label equals the row's; weighted by similarity (negative ones count
  // nothing); the latter with the examples of another row.
  double same_label = kNoFigure;
  double weighted_same_label = kNoFigure;
  double shuffled_same_label = kNoFigure;
  // How the pool is used.
  double coverage = kNoFigure;     // share of it that some row retrieved
  double gini = kNoFigure;         // inequality of the uses
  double top_percent = kNoFigure;  // share of the uses that falls on the most used 1 %
  std::vector<AttributeAgreement> attributes;
};

struct RetrievalCut {
  std::string title;  // "History length"
  std::string meaning;
  std::vector<RetrievalFigures> buckets;
};

// A column of similarities: mean and quantiles.
struct SimilaritySummary {
  std::string name;
  int64_t slots = 0;
  double mean = kNoFigure;
  double low = kNoFigure, quarter = kNoFigure, median = kNoFigure;  // 5, 25, 50 %
  double three_quarters = kNoFigure, high = kNoFigure;              // 75, 95 %
};

struct SimilarityHistogram {
  std::string title;
  std::vector<double> edges;
  std::vector<SimilaritySeries> series;
};

struct FrequentExample {
  int64_t uses = 0;
  int64_t label = 0;
  int64_t history = 0;  // items
  std::string target;
  std::string cot;  // its beginning
};

struct RetrievalAnalysis {
  std::string title;
  std::string created;  // the one field that is a time
  std::string protocol;
  std::string reasoners;
  std::string split;
  int64_t k = 0;
  int64_t pool = 0;  // examples
  int64_t permutations = 0;
  int64_t seed = 0;
  RetrievalFigures all;
  std::vector<RetrievalCut> cuts;
  std::vector<SimilaritySummary> similarity;
  std::vector<SimilarityHistogram> histograms;
  std::vector<FrequentExample> frequent;  // most used first
};

std::string analysis_text(const RetrievalAnalysis& analysis);
std::string analysis_markdown(const RetrievalAnalysis& analysis);
std::string analysis_json(const RetrievalAnalysis& analysis);
std::string analysis_html(const RetrievalAnalysis& analysis);

}  // namespace llmcf::pipeline
