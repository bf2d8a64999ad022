// The frame of the HTML page: head, navigation, sections, scripts.
#include "pipeline/report/page.h"

#include <fmt/format.h>

#include "core/hash.h"
#include "core/strings.h"
#include "pipeline/report/resources.h"

namespace llmcf::pipeline {

namespace {

std::string facts_html(const std::vector<KeyValue>& facts) {
  std::string html = "<dl class=\"facts\">";
  for (const KeyValue& fact : facts) {
    if (fact.value.empty()) continue;
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape_html(fact.key),
                        escape_html(fact.value));
  }
  return html + "</dl>\n";
}

// The page may load nothing and run only the scripts that carry the nonce: a second wall behind the
// escaping.
std::string head(const std::string& title, const std::string& nonce) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src "
      "'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action "
      "'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{css}</style>\n"
      "<noscript><style>.plot {{ display: none; }}</style></noscript>\n</head>\n",
      fmt::arg("nonce", nonce), fmt::arg("title", escape_html(title)),
      fmt::arg("css", report_css()));
}

std::string footer() {
  return fmt::format(
      "<footer>\n<p>Written by llmcf. This page is complete: it loads nothing from a network.</p>\n"
      "<details class=\"data\"><summary>Licence of Chart.js, which draws the charts</summary>"
      "<pre>{}</pre></details>\n</footer>\n",
      escape_html(chart_licence()));
}

}  // namespace

void Page::open_section(const std::string& id, const std::string& heading,
                        const std::string& introduction) {
  navigation += fmt::format("<a href=\"#{}\">{}</a>", id, escape_html(heading));
  body += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", id, escape_html(heading));
  if (!introduction.empty())
    body += fmt::format("<p class=\"lead\">{}</p>\n", escape_html(introduction));
}

void Page::add_figures(std::vector<Chart> figures) {
  body += fmt::format("<div class=\"figures{}\">\n", figures.size() == 1 ? " single" : "");
  for (Chart& figure : figures) {
    body += figure_html(figure);
    charts.push_back(std::move(figure));
  }
  body += "</div>\n";
}

std::string key_value_table(const std::string& caption, const std::vector<KeyValue>& entries) {
  if (entries.empty()) return {};
  std::string html =
      fmt::format("<table class=\"pairs\"><caption>{}</caption><tbody>", escape_html(caption));
  for (const KeyValue& entry : entries) {
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape_html(entry.key),
                        escape_html(entry.value));
  }
  return html + "</tbody></table>\n";
}

std::string page_html(const std::string& title, const std::vector<KeyValue>& facts,
                      const Page& page) {
  const std::string charts = charts_json(page.charts);
  const std::string nonce = hash_hex(charts + page.body);
  std::string html = head(title, nonce);
  html += fmt::format(
      "<body>\n<header>\n<h1>{}</h1>\n{}<nav aria-label=\"Sections\">{}</nav>\n</header>\n<main>\n",
      escape_html(title), facts_html(facts), page.navigation);
  html +=
      "<noscript><p class=\"note\">Charts need JavaScript. The numbers of each chart are in the "
      "table below it.</p></noscript>\n";
  html += page.body + "</main>\n" + footer();
  html += fmt::format("<script type=\"application/json\" id=\"charts\">{}</script>\n", charts);
  html += fmt::format("<script nonce=\"{}\">{}</script>\n", nonce, chart_js());
  html += fmt::format("<script nonce=\"{}\">\n{}</script>\n</body>\n</html>\n", nonce, report_js());
  return html;
}

std::string report_html(const ReportData& data) {
  check_report(data);
  Page page;
  add_result_section(page, data);
  add_curves_section(page, data);
  add_slices_section(page, data);
  add_similarity_section(page, data);
  add_rows_section(page, data);
  add_run_section(page, data);
  std::string seeds;
  for (const int64_t seed : data.seeds)
    seeds += fmt::format("{}{}", seeds.empty() ? "" : ", ", seed);
  return page_html(data.title,
                   {{"Protocol", data.protocol},
                    {"Seeds", seeds},
                    {"Reasoner", data.reasoner},
                    {"Created", data.created}},
                   page);
}

}  // namespace llmcf::pipeline
