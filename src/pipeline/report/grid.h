// A table of texts and its renderings: aligned for a terminal, Markdown, CSV, LaTeX, HTML.
//
// Invariants:
//  1. The first row is the header; every row has as many cells.
//  2. Every cell is data: whatever a rendering gives a meaning to is escaped, control characters
//     become spaces.
#pragma once

#include <string>
#include <vector>

namespace llmcf::pipeline {

struct Grid {
  using Row = std::vector<std::string>;
  std::vector<Row> rows;
  std::vector<bool> left;  // by column: aligned to the left (words); others are numbers

  // The first column is words, the others are numbers.
  static Grid with_header(Row header);
  // The same with all rows at once; there is at least one.
  static Grid of(std::vector<Row> rows);
};

std::string grid_text(const Grid& grid);
std::string grid_markdown(const Grid& grid);  // GitHub's tables
std::string grid_csv(const Grid& grid);
// A tabular environment (package booktabs); "±" becomes a formula.
std::string grid_latex(const Grid& grid);
// A <table> with this caption, in a box that scrolls.
std::string grid_html(const Grid& grid, const std::string& caption);

// Control characters become spaces: text of others can be printed on a terminal.
std::string without_control(std::string text);

// One cell of a CSV line; a number in full precision, nothing for NaN.
std::string csv_cell(const std::string& text);
std::string csv_number(double value);

}  // namespace llmcf::pipeline
