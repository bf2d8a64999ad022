// Files that are part of the program: style sheet, script and charts' library of the page.
#pragma once

#include <string_view>

namespace llmcf::pipeline {

std::string_view report_css();
std::string_view report_js();
std::string_view chart_js();       // Chart.js, minified
std::string_view chart_licence();  // its licence, in full

}  // namespace llmcf::pipeline
