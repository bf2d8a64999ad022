// How it was made: data set, stages, environment, configuration.
#include <algorithm>

#include <fmt/format.h>

#include "core/strings.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline {

namespace {

std::string stage_table(const ReportData& data) {
  double longest = 0, total = 0;
  for (const StageTime& stage : data.stages) {
    longest = std::max(longest, stage.seconds);
    total += stage.seconds;
  }
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"stages\"><caption>Stages: time, and "
      "peak "
      "memory of the process after each</caption><thead><tr><th scope=\"col\">Stage</th><th "
      "scope=\"col\">Time</th><th scope=\"col\" class=\"wide\"><span class=\"hidden\">Share of the "
      "longest</span></th><th scope=\"col\">Peak memory</th></tr></thead><tbody>\n";
  for (const StageTime& stage : data.stages) {
    html += fmt::format(
        "<tr><th scope=\"row\">{}{}</th><td>{}</td><td><span class=\"track\" "
        "aria-hidden=\"true\"><span class=\"bar\" "
        "style=\"width:{:.1f}%\"></span></span></td><td>{}</td>"
        "</tr>\n",
        escape_html(stage.name), stage.skipped ? " <span class=\"chip\">reused</span>" : "",
        duration_text(stage.seconds), longest > 0 ? stage.seconds / longest * 100 : 0,
        human_bytes(stage.peak_memory_mib * 1024 * 1024));
  }
  html += fmt::format(
      "</tbody><tfoot><tr><th scope=\"row\">Total</th><td>{}</td><td></td><td></td></tr></tfoot>"
      "</table></div>\n",
      duration_text(total));
  return html;
}

}  // namespace

void add_run_section(Page& page, const ReportData& data) {
  page.open_section("run", "How it was made", "");
  page.body += "<div class=\"columns\">\n" + key_value_table("Data set", data.dataset) +
               key_value_table("Environment", data.environment) + "</div>\n";
  if (!data.stages.empty()) page.body += stage_table(data);
  if (!data.configuration.empty()) {
    page.body += fmt::format(
        "<details class=\"data\"><summary>Configuration of the "
        "run</summary><pre>{}</pre></details>\n",
        escape_html(data.configuration));
  }
  page.close_section();
}

}  // namespace llmcf::pipeline
