// Embeds the page's files with the assembler's .incbin.
#include "pipeline/report/resources.h"

// Puts the bytes of a file into read-only data, between two symbols.
#define LLMCF_EMBED(symbol, path)                                                     \
  __asm__(".pushsection .rodata\n.hidden " #symbol "_begin\n.hidden " #symbol         \
          "_end\n.global " #symbol "_begin\n.global " #symbol "_end\n" #symbol        \
          "_begin:\n.incbin \"" path "\"\n" #symbol "_end:\n.byte 0\n.popsection\n"); \
  extern "C" __attribute__((visibility("hidden"))) const char symbol##_begin[], symbol##_end[]

LLMCF_EMBED(llmcf_report_css, LLMCF_RESOURCES "/report.css");
LLMCF_EMBED(llmcf_report_js, LLMCF_RESOURCES "/report.js");
LLMCF_EMBED(llmcf_chart_licence, LLMCF_RESOURCES "/chart_licence.txt");
LLMCF_EMBED(llmcf_chart_js, LLMCF_CHART_JS);

namespace llmcf::pipeline {

namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::string_view report_css() {
  return between(llmcf_report_css_begin, llmcf_report_css_end);
}

std::string_view report_js() {
  return between(llmcf_report_js_begin, llmcf_report_js_end);
}

std::string_view chart_js() {
  return between(llmcf_chart_js_begin, llmcf_chart_js_end);
}

std::string_view chart_licence() {
  return between(llmcf_chart_licence_begin, llmcf_chart_licence_end);
}

}  // namespace llmcf::pipeline
