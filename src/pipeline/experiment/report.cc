#include "pipeline/experiment/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/files.h"
#include "core/strings.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline::experiment {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kSignificance = 0.05;

const std::vector<MetricInfo>& metrics(const ExperimentReport& report) {
  return measures_of(report.task).metrics;
}
const std::string& deciding(const ExperimentReport& report) {
  return metrics(report).front().name;
}

bool same_place(const Coordinates& a, const Coordinates& b) {
  return a.backbone == b.backbone && a.variant == b.variant && a.pool == b.pool &&
         a.sweep == b.sweep && a.point == b.point;
}

void add_result(Task task, Entry& entry, int64_t seed, const Result* result) {
  entry.planned.push_back(seed);
  entry.figures.resize(measures_of(task).names.size());
  const std::vector<double> figures = result == nullptr
                                          ? std::vector<double>(entry.figures.size(), kNone)
                                          : figures_of(task, *result);
  for (size_t place = 0; place < figures.size(); ++place)
    entry.figures[place].per_seed.push_back(figures[place]);
}

int64_t finished_of(const Entry& entry) {
  const std::vector<double>& values = entry.figures.front().per_seed;
  return std::count_if(values.begin(), values.end(),
                       [](double value) { return !std::isnan(value); });
}

// "0.8057 ± 0.0054", "0.8057 (1 of 3)", "–".
std::string cell_text(const Entry& entry, const MetricResult& result, const MetricInfo& info) {
  const int64_t finished = finished_of(entry);
  if (finished == 0 || std::isnan(mean_of(result))) return kDash;
  std::string text = mean_text(info, result);
  if (finished < static_cast<int64_t>(entry.planned.size()))
    text += fmt::format(" ({} of {})", finished, entry.planned.size());
  return text;
}

const Entry* find(const std::vector<Entry>& entries, const Coordinates& at) {
  for (const Entry& entry : entries)
    if (same_place(entry.at, at)) return &entry;
  return nullptr;
}

const Entry* find(const std::vector<Entry>& entries, const std::string& backbone,
                  const std::string& variant) {
  return find(entries, {.backbone = backbone, .variant = variant});
}

// By seed, over the baseline's first figure.
MetricResult improvement_of(Task task, const Entry& entry, const Entry& baseline) {
  const auto &own = entry.figures.front().per_seed, &base = baseline.figures.front().per_seed;
  MetricResult result;
  for (size_t seed = 0; seed < own.size(); ++seed)
    result.per_seed.push_back(
        improvement(task, own[seed], seed < base.size() ? base[seed] : kNone));
  return result;
}

// "+.0213, p = .012": over common seeds. A dash with fewer than two of them.
std::string comparison_text(const ExperimentReport& report, const Entry& entry,
                            const Entry* other) {
  if (other == nullptr || other == &entry) return kDash;
  const auto found = compare(entry.figures.front(), other->figures.front());
  if (!found) return kDash;
  return difference_text(metrics(report).front(), found->difference) + ", " +
         p_text(found->p_value);
}

std::string mark(const Entry& entry, const Entry* baseline) {
  if (baseline == nullptr || baseline == &entry) return "";
  const auto found = compare(entry.figures.front(), baseline->figures.front());
  if (!found || found->p_value >= kSignificance) return "";
  return found->difference > 0 ? " ▲" : " ▼";
}

std::vector<std::string> detail_row(const ExperimentReport& report, const Entry& entry,
                                    const std::vector<std::string>& names) {
  const Entry* baseline = find(report.matrix, entry.at.backbone, report.baseline);
  std::vector<std::string> row = names;
  const std::vector<MetricInfo>& all = metrics(report);
  for (size_t place = 0; place < entry.figures.size(); ++place)
    row.push_back(cell_text(entry, entry.figures[place], all[place]));
  row.push_back(baseline == nullptr || baseline == &entry
                    ? kDash
                    : mean_text(all.back(), improvement_of(report.task, entry, *baseline)));
  row.push_back(comparison_text(report, entry, baseline));
  if (!report.control.empty())
    row.push_back(
        comparison_text(report, entry, find(report.matrix, entry.at.backbone, report.control)));
  return row;
}

std::vector<std::string> detail_header(const ExperimentReport& report,
                                       std::vector<std::string> names) {
  for (const MetricInfo& metric : metrics(report))
    names.push_back(metric.name);
  names.push_back(deciding(report) + " against " + report.baseline);
  if (!report.control.empty()) names.push_back(deciding(report) + " against " + report.control);
  return names;
}

Chart seeds_chart(const ExperimentReport& report, const std::string& backbone) {
  Chart chart{.kind = Chart::Kind::kInterval,
              .id = "seeds-" + backbone,
              .title = backbone + ": " + deciding(report) + " on the test split, seeds and mean",
              .summary = "Differences smaller than the spread of the seeds say little.",
              .x_title = deciding(report),
              .y_title = "Variant"};
  for (size_t place = 0; place < report.variants.size(); ++place) {
    const Entry* entry = find(report.matrix, backbone, report.variants[place]);
    if (entry == nullptr || finished_of(*entry) == 0) continue;
    if (chart.x.empty())
      for (const int64_t seed : entry->planned)
        chart.x.push_back(fmt::format("seed {}", seed));
    const MetricResult& figure = entry->figures.front();
    const double mean = mean_of(figure), deviation = deviation_of(figure);
    chart.series.push_back({.name = report.variants[place],
                            .group = report.variants[place],
                            .color = series_color(place),
                            .values = figure.per_seed,
                            .low = std::isnan(deviation) ? mean : mean - deviation,
                            .mean = mean,
                            .high = std::isnan(deviation) ? mean : mean + deviation});
  }
  return chart;
}

// Columns of a sweep's table and chart.
std::vector<std::pair<std::string, std::string>> sweep_columns(const Sweep& sweep) {
  std::vector<std::pair<std::string, std::string>> columns;
  for (const std::string& backbone : sweep.backbones)
    for (const std::string& variant : sweep.variants)
      columns.emplace_back(backbone, variant);
  return columns;
}

const Entry* sweep_entry(const ExperimentReport& report, const Sweep& sweep,
                         const std::pair<std::string, std::string>& column, size_t point) {
  return find(report.sweep_entries, {.backbone = column.first,
                                     .variant = column.second,
                                     .sweep = sweep.name,
                                     .point = sweep.labels[point]});
}

Chart sweep_chart(const ExperimentReport& report, const Sweep& sweep) {
  Chart chart{.kind = Chart::Kind::kLines,
              .id = "sweep-" + sweep.name,
              .title = deciding(report) + " by " + sweep.title,
              .summary = "Mean over seeds; the table gives the deviations.",
              .x_title = sweep.title,
              .y_title = deciding(report),
              .x = sweep.labels};
  const auto columns = sweep_columns(sweep);
  for (size_t column = 0; column < columns.size(); ++column) {
    const std::string name = columns[column].first + " " + columns[column].second;
    ChartSeries series{.name = name, .group = name, .color = series_color(column)};
    for (size_t point = 0; point < sweep.labels.size(); ++point) {
      const Entry* entry = sweep_entry(report, sweep, columns[column], point);
      series.values.push_back(entry == nullptr ? kNone : mean_of(entry->figures.front()));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string reading_note(const ExperimentReport& report) {
  return fmt::format(
      "Mean over seeds ± sample standard deviation; {} of {} runs have finished. Tests are paired "
      "t-tests over seeds, two-sided; ▲ and ▼ mark differences from {} with p < .05.",
      report.finished, report.planned, report.baseline);
}

// Sections of every rendering: heading and table.
std::vector<std::pair<std::string, Grid>> tables(const ExperimentReport& report) {
  std::vector<std::pair<std::string, Grid>> all = {
      {deciding(report) + " by backbone and variant", overview_grid(report)},
      {"All metrics", detail_grid(report)}};
  if (!report.pools.empty()) all.emplace_back("Pools", pool_grid(report));
  for (const Sweep& sweep : report.sweeps)
    all.emplace_back(sweep.title, sweep_grid(report, sweep));
  return all;
}

}  // namespace

ExperimentReport summarise(const Experiment& experiment, const std::vector<Cell>& cells,
                           const ResultStore& store) {
  ExperimentReport report{.title = experiment.name,
                          .protocol = experiment.run.get<std::string>("protocol", "strict"),
                          .baseline = experiment.baseline,
                          .control = {},
                          .backbones = experiment.backbones,
                          .variants = experiment.variant_names(),
                          .sweeps = experiment.sweeps,
                          .configuration = experiment.run.yaml()};
  for (const std::string& variant : report.variants)
    if (variant == "text" && variant != report.baseline) report.control = variant;
  if (!cells.empty()) report.task = task_of(cells.front().config.variants);
  for (const Cell& cell : cells) {
    auto& entries = !cell.at.sweep.empty()  ? report.sweep_entries
                    : !cell.at.pool.empty() ? report.pools
                                            : report.matrix;
    auto entry = std::find_if(entries.begin(), entries.end(),
                              [&](const Entry& known) { return same_place(known.at, cell.at); });
    if (entry == entries.end()) {
      entries.push_back({.at = cell.at});
      entry = entries.end() - 1;
    }
    const Result* result = store.find(cell.key);
    add_result(report.task, *entry, cell.at.seed, result);
    ++report.planned;
    report.finished += result != nullptr;
    if (result != nullptr && report.facts.empty())
      report.facts = {
          {"Protocol", report.protocol}, {"Machine", result->machine}, {"llmcf", result->version}};
  }
  report.facts.push_back({"Runs", fmt::format("{} of {}", report.finished, report.planned)});
  return report;
}

std::optional<train::Comparison> compare(const MetricResult& first, const MetricResult& second) {
  std::vector<double> a, b;
  for (size_t seed = 0; seed < std::min(first.per_seed.size(), second.per_seed.size()); ++seed) {
    if (std::isnan(first.per_seed[seed]) || std::isnan(second.per_seed[seed])) continue;
    a.push_back(first.per_seed[seed]);
    b.push_back(second.per_seed[seed]);
  }
  return train::paired_t_test(a, b);
}

Grid overview_grid(const ExperimentReport& report) {
  Grid::Row header = {"variant"};
  header.insert(header.end(), report.backbones.begin(), report.backbones.end());
  Grid grid = Grid::with_header(std::move(header));
  for (const std::string& variant : report.variants) {
    Grid::Row row = {variant};
    for (const std::string& backbone : report.backbones) {
      const Entry* entry = find(report.matrix, backbone, variant);
      row.push_back(entry == nullptr
                        ? kDash
                        : cell_text(*entry, entry->figures.front(), metrics(report).front()) +
                              mark(*entry, find(report.matrix, backbone, report.baseline)));
    }
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

Grid detail_grid(const ExperimentReport& report) {
  Grid grid = Grid::with_header(detail_header(report, {"backbone", "variant"}));
  grid.left[1] = true;
  for (const Entry& entry : report.matrix) {
    if (finished_of(entry) == 0) continue;
    grid.rows.push_back(detail_row(report, entry, {entry.at.backbone, entry.at.variant}));
  }
  return grid;
}

Grid pool_grid(const ExperimentReport& report) {
  Grid grid = Grid::with_header(detail_header(report, {"pool", "backbone", "variant"}));
  grid.left[1] = grid.left[2] = true;
  for (const Entry& entry : report.pools)
    grid.rows.push_back(
        detail_row(report, entry, {entry.at.pool, entry.at.backbone, entry.at.variant}));
  return grid;
}

Grid sweep_grid(const ExperimentReport& report, const Sweep& sweep) {
  const auto columns = sweep_columns(sweep);
  Grid::Row header = {sweep.title};
  for (const auto& [backbone, variant] : columns)
    header.push_back(backbone + " " + variant);
  Grid grid = Grid::with_header(std::move(header));
  for (size_t point = 0; point < sweep.labels.size(); ++point) {
    Grid::Row row = {sweep.labels[point]};
    for (const auto& column : columns) {
      const Entry* entry = sweep_entry(report, sweep, column, point);
      row.push_back(entry == nullptr
                        ? kDash
                        : cell_text(*entry, entry->figures.front(), metrics(report).front()));
    }
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

std::string experiment_text(const ExperimentReport& report) {
  std::string text;
  for (const auto& [heading, grid] : tables(report))
    text += heading + "\n" + grid_text(grid) + "\n";
  return text + reading_note(report) + "\n";
}

std::string experiment_markdown(const ExperimentReport& report) {
  std::string text = fmt::format("# {}\n\n{}\n", report.title, reading_note(report));
  for (const auto& [heading, grid] : tables(report))
    text += fmt::format("\n## {}\n\n{}", heading, grid_markdown(grid));
  return text;
}

std::string experiment_latex(const ExperimentReport& report) {
  std::string text = "% " + report.title + ". Needs \\usepackage{booktabs}.\n";
  for (auto [heading, grid] : tables(report)) {
    for (Grid::Row& row : grid.rows)
      for (std::string& cell : row)
        for (const auto& [sign, word] : {std::pair(std::string(" ▲"), std::string(" (+)")),
                                         {std::string(" ▼"), std::string(" (-)")}})
          if (const size_t at = cell.find(sign); at != std::string::npos)
            cell.replace(at, sign.size(), word);
    text += fmt::format("\n% {}\n{}", heading, grid_latex(grid));
  }
  return text;
}

std::string experiment_csv(const ExperimentReport& report) {
  Grid::Row header = {"backbone", "variant", "pool", "sweep", "point", "seed"};
  for (const std::string& name : measures_of(report.task).names)
    header.push_back(name);
  Grid grid = Grid::with_header(std::move(header));
  for (const auto* entries : {&report.matrix, &report.pools, &report.sweep_entries})
    for (const Entry& entry : *entries)
      for (size_t seed = 0; seed < entry.planned.size(); ++seed) {
        if (std::isnan(entry.figures.front().per_seed[seed])) continue;
        const Coordinates& at = entry.at;
        Grid::Row row = {at.backbone, at.variant, at.pool,
                         at.sweep,    at.point,   std::to_string(entry.planned[seed])};
        for (const MetricResult& figure : entry.figures)
          row.push_back(csv_number(figure.per_seed[seed]));
        grid.rows.push_back(std::move(row));
      }
  return grid_csv(grid);
}

std::string experiment_html(const ExperimentReport& report) {
  Page page;
  page.open_section("table", "Result", reading_note(report));
  page.body += grid_html(overview_grid(report), deciding(report) + " by backbone and variant");
  page.body += grid_html(detail_grid(report), "All metrics");
  page.close_section();
  std::vector<Chart> seeds;
  for (const std::string& backbone : report.backbones)
    if (Chart chart = seeds_chart(report, backbone); !chart.series.empty())
      seeds.push_back(std::move(chart));
  if (!seeds.empty()) {
    page.open_section("seeds", "Seeds",
                      "Each dot is a seed, the bar is the mean ± one sample standard deviation.");
    page.add_figures(std::move(seeds));
    page.close_section();
  }
  if (!report.pools.empty()) {
    page.open_section("pools", "Pools", "The same models on other pools of chains of thought.");
    page.body += grid_html(pool_grid(report), "All metrics");
    page.close_section();
  }
  for (const Sweep& sweep : report.sweeps) {
    page.open_section("sweep-" + sweep.name, sweep.title, "Key " + sweep.key + ".");
    page.body += grid_html(sweep_grid(report, sweep), deciding(report));
    page.add_figures({sweep_chart(report, sweep)});
    page.close_section();
  }
  page.open_section("configuration", "Configuration", "What every run shares.");
  page.body += fmt::format("<pre>{}</pre>\n", escape_html(report.configuration));
  page.close_section();
  return page_html(report.title, report.facts, page);
}

void write_experiment(const ExperimentReport& report, const std::filesystem::path& directory) {
  write_file(directory / "experiment.md", experiment_markdown(report));
  write_file(directory / "experiment.csv", experiment_csv(report));
  write_file(directory / "experiment.tex", experiment_latex(report));
  write_file(directory / "experiment.html", experiment_html(report));
}

}  // namespace llmcf::pipeline::experiment
