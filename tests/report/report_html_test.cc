// The page: complete without a network, safe with any text, readable without a script.
#include <set>
#include <stack>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "pipeline/report/report.h"
#include "pipeline/report/resources.h"
#include "report/example_report.h"

namespace llmcf::pipeline {
namespace {

using testing::example_report;
using ::testing::HasSubstr;
using testing::kHostileTitle;
using ::testing::Not;

size_t count_of(const std::string& text, const std::string& piece) {
  size_t count = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1))
    ++count;
  return count;
}

// What lies between the first `begin` and the `end` after it.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  const size_t from = at + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

// The page without the library, the style sheet and the script.
std::string markup_of(std::string html) {
  for (const std::string_view resource : {chart_js(), report_js(), report_css()}) {
    const size_t at = html.find(resource);
    EXPECT_NE(at, std::string::npos);
    if (at != std::string::npos) html.erase(at, resource.size());
  }
  return html;
}

// Names of elements that are closed in the wrong order, or not at all.
std::vector<std::string> unbalanced(const std::string& markup) {
  const std::set<std::string> empty = {"meta", "link", "img", "!doctype"};
  std::vector<std::string> wrong;
  std::stack<std::string> open;
  for (size_t at = markup.find('<'); at != std::string::npos; at = markup.find('<', at + 1)) {
    const bool closes = markup[at + 1] == '/';
    const size_t from = at + (closes ? 2 : 1);
    const std::string name = markup.substr(from, markup.find_first_of(" >\n", from) - from);
    if (empty.contains(name)) continue;
    if (!closes) {
      open.push(name);
    } else if (!open.empty() && open.top() == name) {
      open.pop();
    } else {
      wrong.push_back(name);
    }
  }
  for (; !open.empty(); open.pop())
    wrong.push_back(open.top());
  return wrong;
}

TEST(ReportPage, ShowsHostileTextAsText) {
  const std::string markup = markup_of(report_html(example_report()));
  EXPECT_THAT(markup, Not(HasSubstr(kHostileTitle)));
  EXPECT_THAT(markup, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(markup, HasSubstr("&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt; &lt;!-- &amp; "
                                "&quot;quoted&quot;"));
  EXPECT_EQ(count_of(markup, "<script"), 3u) << "the data, the library, our script";
  EXPECT_EQ(count_of(markup, "</script"), 3u);
  EXPECT_THAT(markup, Not(HasSubstr("<img")));
}

TEST(ReportPage, HostileTextEverywhereAddsNoMarkup) {
  const std::string hostile = "'\"></td></script><script>alert(1)</script><!--";
  ReportData data = example_report();
  const std::string calm = markup_of(report_html(data));
  for (std::string* text : {&data.title, &data.created, &data.protocol, &data.reasoner,
                            &data.interval_name, &data.test_name, &data.configuration})
    *text = hostile;
  for (VariantResult& variant : data.variants)
    variant.name += variant.description = hostile;
  for (Curve& curve : data.curves)
    curve.variant += hostile;
  for (MetricInfo& metric : data.metrics)
    metric.name += metric.meaning = hostile;
  for (Slice& slice : data.slices)
    slice.title = slice.meaning = slice.buckets[3] = slice.series[0].variant = hostile;
  for (SplitSimilarity& split : data.similarity)
    split.split = split.series[0].label = hostile;
  for (TestRow& row : data.rows) {
    row.user = row.target = hostile;
    for (std::string& title : row.history)
      title = hostile;
    for (RetrievedExample& example : row.examples)
      example.target = example.history[0] = example.cot = hostile;
  }
  data.stages[0].name = data.dataset[0].key = data.environment[0].value = hostile;
  const std::string markup = markup_of(report_html(data));
  EXPECT_THAT(markup, Not(HasSubstr("<script>alert")));
  EXPECT_EQ(count_of(markup, "</script"), 3u);
  EXPECT_EQ(count_of(markup, "<!--"), 0u);
  EXPECT_EQ(count_of(markup, "</td>"), count_of(calm, "</td>"));
  EXPECT_THAT(unbalanced(markup), ::testing::IsEmpty());
}

TEST(ReportPage, DataBlockIsJsonThatCannotEndItsElement) {
  ReportData data = example_report();
  data.variants[0].name = "</script><b>";
  const std::string block =
      between(report_html(data), "<script type=\"application/json\" id=\"charts\">", "</script>");
  EXPECT_THAT(block, Not(HasSubstr("<")));
  const auto charts = nlohmann::json::parse(block);
  ASSERT_EQ(charts.size(), 7u);
  EXPECT_EQ(charts[0]["series"][0]["name"], "</script><b>");
  EXPECT_EQ(charts[0]["series"][2]["values"][2], nullptr) << "a seed without a figure";
}

TEST(ReportPage, LoadsNothing) {
  const std::string html = report_html(example_report());
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  const std::string markup = markup_of(html);
  for (const char* loader : {"src=\"", "url(", "@import", "http://", "href=\"http"})
    EXPECT_THAT(markup, Not(HasSubstr(loader))) << loader;
}

TEST(ReportPage, EveryScriptThatRunsCarriesTheNonceOfThePolicy) {
  const std::string html = report_html(example_report());
  const std::string nonce = between(html, "'nonce-", "'");
  EXPECT_EQ(nonce.size(), 32u);
  EXPECT_EQ(count_of(html, "<script nonce=\"" + nonce + "\">"), 2u);
  ReportData other = example_report();
  other.rows[0].target = "another";
  EXPECT_NE(between(report_html(other), "'nonce-", "'"), nonce);
}

TEST(ReportPage, ElementsAreBalancedAndIdsUnique) {
  const std::string markup = markup_of(report_html(example_report()));
  EXPECT_THAT(unbalanced(markup), ::testing::IsEmpty());
  std::set<std::string> ids;
  for (size_t at = markup.find(" id=\""); at != std::string::npos;
       at = markup.find(" id=\"", at + 1))
    EXPECT_TRUE(ids.insert(between(markup.substr(at), "\"", "\"")).second);
}

TEST(ReportPage, EveryChartHasAnAlternativeAndATable) {
  const std::string markup = markup_of(report_html(example_report()));
  EXPECT_EQ(count_of(markup, "<figure>"), 7u);
  EXPECT_EQ(count_of(markup, "role=\"img\" aria-label=\""), 7u);
  EXPECT_EQ(count_of(markup, "<summary>Numbers of this chart</summary>"), 7u);
  EXPECT_EQ(count_of(markup, "<table"), count_of(markup, "<caption>"));
  EXPECT_EQ(count_of(markup, "<noscript>"), 2u);
}

TEST(ReportPage, HoldsTheFigures) {
  const std::string markup = markup_of(report_html(example_report()));
  for (const char* text :
       {"0.8051 ± 0.0010", "0.8010 to 0.8093", "better (p = .004, 3 seeds)", "+0.0221",
        "not significant (p = .31, 2 seeds)", "7.83 ± 0.99 %", "24,318", "99.4 %", "6 min 43 s",
        "1.8 GiB", "OpenBLAS 0.3.21 (OpenMP)", "seeds: [2023, 2024, 2025]", "No history.",
        "No example could be retrieved.", "Permission is hereby granted"}) {
    EXPECT_THAT(markup, HasSubstr(text));
  }
}

TEST(ReportPage, NamesTheReasonerWhereverAChainOfThoughtIs) {
  const ReportData data = example_report();
  size_t thoughts = 0;
  for (const TestRow& row : data.rows)
    thoughts += row.examples.size();
  EXPECT_EQ(count_of(report_html(data), "<span class=\"chip\">template (no language model)</span>"),
            thoughts);
}

TEST(ReportPage, BucketsWithoutRowsAtTheEndsAreLeftOut) {
  const std::string charts = between(report_html(example_report()), "id=\"charts\">", "</script>");
  EXPECT_EQ(nlohmann::json::parse(charts)[3]["x"],
            nlohmann::json({"3-4", "5-6", "7-9", "10-19", "20-49", "50+"}));
}

TEST(ReportPage, SectionsWithoutDataAreAbsent) {
  ReportData data;
  data.title = "empty";
  const std::string html = report_html(data);
  EXPECT_THAT(html, Not(HasSubstr("id=\"result\"")));
  EXPECT_THAT(html, Not(HasSubstr("id=\"rows\"")));
  EXPECT_THAT(unbalanced(markup_of(html)), ::testing::IsEmpty());
}

TEST(ReportPage, IsWrittenWholeAndSameDataGivesSameBytes) {
  const TemporaryDirectory directory;
  write_report(example_report(), directory.path() / "report.html");
  EXPECT_TRUE(read_file(directory.path() / "report.html") == report_html(example_report()));
}

TEST(Resources, AreThereAndFitIntoThePage) {
  EXPECT_GT(chart_js().size(), 100'000u);
  for (const std::string_view script : {chart_js(), report_js()})
    EXPECT_EQ(script.find("</script"), std::string_view::npos);
  EXPECT_EQ(report_css().find("</style"), std::string_view::npos);
  EXPECT_NE(chart_licence().find("MIT"), std::string_view::npos);
}

}  // namespace
}  // namespace llmcf::pipeline
