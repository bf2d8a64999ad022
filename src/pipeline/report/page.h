// A self-contained HTML page and its parts. Each section appends itself to the page; what a reader
// sees first comes first.
#pragma once

#include <string>
#include <vector>

#include "pipeline/report/chart.h"
#include "pipeline/report/report.h"

namespace llmcf::pipeline {

struct Page {
  std::string navigation;
  std::string body;
  std::vector<Chart> charts;

  // Opens <section id>, with its heading and its entry in the navigation.
  void open_section(const std::string& id, const std::string& heading,
                    const std::string& introduction);
  void close_section() { body += "</section>\n"; }
  // Charts side by side where there is room.
  void add_figures(std::vector<Chart> figures);
};

// Steps over the bins of `edges`, each series as shares of its own total. `all`: positive,
// negative, others.
Chart similarity_chart(const std::string& id, const std::string& title,
                       const std::vector<double>& edges, const std::vector<SimilaritySeries>& all);

void add_result_section(Page& page, const ReportData& data);
void add_curves_section(Page& page, const ReportData& data);
void add_slices_section(Page& page, const ReportData& data);
void add_similarity_section(Page& page, const ReportData& data);
void add_rows_section(Page& page, const ReportData& data);
void add_run_section(Page& page, const ReportData& data);

// The whole document: title and facts as its head, then what the sections appended.
std::string page_html(const std::string& title, const std::vector<KeyValue>& facts,
                      const Page& page);

// Two columns: name and text.
std::string key_value_table(const std::string& caption, const std::vector<KeyValue>& entries);

}  // namespace llmcf::pipeline
