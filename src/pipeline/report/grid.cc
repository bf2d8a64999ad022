#include "pipeline/report/grid.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/strings.h"

namespace llmcf::pipeline {

namespace {

using Row = Grid::Row;

// Code points, which is columns for the letters and signs used here.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void check(const Grid& grid) {
  LLMCF_ASSERT(!grid.rows.empty() && grid.left.size() == grid.rows[0].size());
  for (const Row& row : grid.rows)
    LLMCF_ASSERT(row.size() == grid.rows[0].size());
}

std::string markdown_cell(const std::string& text) {
  std::string cell;
  for (const char c : without_control(text)) {
    if (c == '|' || c == '\\' || c == '<' || c == '`' || c == '*' || c == '_' || c == '[')
      cell += '\\';
    cell += c;
  }
  return cell;
}

std::string latex_cell(const std::string& text) {
  std::string cell;
  for (const char c : without_control(text)) {
    if (c == '\\')
      cell += "\\textbackslash{}";
    else if (c == '~' || c == '^')
      cell += fmt::format("\\{}{{}}", c);
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      cell += fmt::format("\\{}", c);
    else
      cell += c;
  }
  for (const auto& [sign, formula] :
       {std::pair(std::string("±"), std::string("$\\pm$")), {"–", "--"}}) {
    for (size_t at = cell.find(sign); at != std::string::npos; at = cell.find(sign, at))
      cell.replace(at, sign.size(), formula);
  }
  return cell;
}

}  // namespace

Grid Grid::with_header(Row header) {
  Grid grid;
  grid.left.assign(header.size(), false);
  if (!header.empty()) grid.left[0] = true;
  grid.rows.push_back(std::move(header));
  return grid;
}

Grid Grid::of(std::vector<Row> rows) {
  Grid grid = with_header(rows.at(0));
  grid.rows = std::move(rows);
  return grid;
}

std::string without_control(std::string text) {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c < 0x20 || c == 0x7F) text[at] = ' ';
    // U+0080 to U+009F
    const bool c1 = c == 0xC2 && at + 1 < text.size() &&
                    (static_cast<unsigned char>(text[at + 1]) & 0xE0U) == 0x80U;
    if (c1) text[at] = text[at + 1] = ' ';
  }
  return text;
}

std::string grid_text(const Grid& grid) {
  check(grid);
  std::vector<size_t> widths(grid.left.size(), 0);
  for (const Row& row : grid.rows) {
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], width_of(without_control(row[column])));
  }
  std::string text;
  for (size_t index = 0; index < grid.rows.size(); ++index) {
    std::string line;
    for (size_t column = 0; column < widths.size(); ++column) {
      const std::string cell = without_control(grid.rows[index][column]);
      const std::string space(widths[column] - width_of(cell), ' ');
      line += (column == 0 ? "" : "  ") + (grid.left[column] ? cell + space : space + cell);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
    if (index > 0) continue;
    for (size_t column = 0; column < widths.size(); ++column)
      text += (column == 0 ? "" : "  ") + std::string(widths[column], '-');
    text += '\n';
  }
  return text;
}

std::string grid_markdown(const Grid& grid) {
  check(grid);
  std::string text;
  for (size_t index = 0; index < grid.rows.size(); ++index) {
    text += '|';
    for (const std::string& cell : grid.rows[index])
      text += ' ' + markdown_cell(cell) + " |";
    text += '\n';
    if (index > 0) continue;
    text += '|';
    for (const bool left : grid.left)
      text += left ? " --- |" : " ---: |";
    text += '\n';
  }
  return text;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) {
    if (c == '"') cell += '"';
    cell += c;
  }
  return cell + '"';
}

std::string csv_number(double value) {
  return std::isnan(value) ? std::string() : fmt::format("{}", value);
}

std::string grid_csv(const Grid& grid) {
  check(grid);
  std::string text;
  for (const Row& row : grid.rows) {
    for (size_t column = 0; column < row.size(); ++column)
      text += (column == 0 ? "" : ",") + csv_cell(row[column]);
    text += '\n';
  }
  return text;
}

std::string grid_latex(const Grid& grid) {
  check(grid);
  std::string text = "\\begin{tabular}{";
  for (const bool left : grid.left)
    text += left ? 'l' : 'r';
  text += "}\n\\toprule\n";
  for (size_t index = 0; index < grid.rows.size(); ++index) {
    for (size_t column = 0; column < grid.left.size(); ++column)
      text += (column == 0 ? "" : " & ") + latex_cell(grid.rows[index][column]);
    text += index == 0 ? " \\\\\n\\midrule\n" : " \\\\\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

std::string grid_html(const Grid& grid, const std::string& caption) {
  check(grid);
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"grid\"><caption>{}</caption>",
      escape_html(caption));
  for (size_t index = 0; index < grid.rows.size(); ++index) {
    html += index == 0 ? "<thead><tr>" : "<tr>";
    for (size_t column = 0; column < grid.left.size(); ++column) {
      const std::string cell = escape_html(grid.rows[index][column]);
      const char* words = grid.left[column] && column > 0 ? " class=\"words\"" : "";
      if (index == 0)
        html += fmt::format("<th scope=\"col\"{}>{}</th>", words, cell);
      else if (column == 0)
        html += fmt::format("<th scope=\"row\">{}</th>", cell);
      else
        html += fmt::format("<td{}>{}</td>", words, cell);
    }
    html += index == 0 ? "</tr></thead><tbody>\n" : "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace llmcf::pipeline
