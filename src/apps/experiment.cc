// llmcf experiment: backbones x variants x seeds, and what they add up to. llmcf tune: a search of
// hyper-parameters with the same budget for each of them.
//
// Exit status 1 if a run failed; the others have been trained then.
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "pipeline/experiment/plan.h"
#include "pipeline/experiment/report.h"
#include "pipeline/experiment/results.h"
#include "pipeline/experiment/runner.h"
#include "pipeline/experiment/tune.h"

namespace llmcf::apps {

namespace {

using namespace pipeline::experiment;

struct Arguments {
  std::string file, cell;
  std::vector<std::string> overrides, backbones, variants;
  double minutes = 0;
  bool only_tables = false, dry_run = false;
};

Experiment load(const Arguments& arguments) {
  return Experiment::load(arguments.file, arguments.overrides);
}

bool is_wanted(const std::vector<std::string>& wanted, const std::string& name) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end();
}

void check_known(const char* kind, const std::vector<std::string>& wanted,
                 const std::vector<std::string>& known) {
  for (const std::string& name : wanted)
    if (!is_wanted(known, name)) throw Error(unknown_name(kind, name, known));
}

std::vector<Cell> chosen(const Experiment& experiment, const std::vector<Cell>& cells,
                         const Arguments& arguments) {
  check_known("backbone", arguments.backbones, experiment.backbones);
  check_known("variant", arguments.variants, experiment.variant_names());
  std::vector<Cell> chosen;
  for (const Cell& cell : cells)
    if (is_wanted(arguments.backbones, cell.at.backbone) &&
        is_wanted(arguments.variants, cell.at.variant))
      chosen.push_back(cell);
  return chosen;
}

void list_missing(const std::vector<Cell>& cells, const ResultStore& store) {
  int64_t missing = 0;
  for (const Cell& cell : cells) {
    if (store.find(cell.key) != nullptr) continue;
    ++missing;
    fmt::print("{}  {}\n", cell.key, cell.at.label());
  }
  fmt::print("{} of {} runs are missing\n", missing, cells.size());
}

// Throws Error if a run failed.
void check(const RunnerReport& report) {
  if (report.left > 0) log::warn("out of time: {} runs were not started", report.left);
  if (report.failed.empty()) return;
  std::string text = fmt::format("{} runs failed:", report.failed.size());
  for (const std::string& reason : report.failed)
    text += "\n  " + reason;
  throw Error(text);
}

void run_experiment(const Arguments& arguments) {
  const Experiment experiment = load(arguments);
  const std::vector<Cell> cells = plan(experiment);
  if (!arguments.cell.empty()) return train_cell(cells, arguments.cell);
  ResultStore store(experiment.results, arguments.dry_run || arguments.only_tables);
  const std::vector<Cell> wanted = chosen(experiment, cells, arguments);
  if (arguments.dry_run) return list_missing(wanted, store);
  RunnerReport outcome;
  if (!arguments.only_tables)
    outcome = train_missing(experiment, wanted, store,
                            {.command = "experiment", .minutes = arguments.minutes});
  const ExperimentReport report = summarise(experiment, cells, store);
  write_experiment(report, experiment.workspace);
  fmt::print("\n{}\nreport: {}\n", experiment_text(report),
             std::filesystem::absolute(experiment.workspace / "experiment.html")
                 .lexically_normal()
                 .string());
  check(outcome);
}

void run_tune(const Arguments& arguments) {
  const Experiment experiment = load(arguments);
  const TuneOptions options = TuneOptions::from(experiment);
  if (experiment.presets.empty())
    throw Error(fmt::format("{}: tuned values need a place: add 'presets: FILE'", arguments.file));
  const std::vector<Cell> cells = plan_trials(experiment, options);
  if (!arguments.cell.empty()) return train_cell(cells, arguments.cell);
  ResultStore store(options.results, arguments.dry_run);
  const std::vector<Cell> wanted = chosen(experiment, cells, arguments);
  if (arguments.dry_run) return list_missing(wanted, store);
  const RunnerReport outcome =
      train_missing(experiment, wanted, store,
                    {.command = "tune", .minutes = arguments.minutes, .hides_test = true});
  const std::string text = presets_text(experiment, options, store, load_presets(experiment));
  write_file(experiment.presets, text);
  fmt::print("\n{}\npresets: {}\n", text,
             std::filesystem::absolute(experiment.presets).lexically_normal().string());
  check(outcome);
}

std::shared_ptr<Arguments> add_command(CLI::App& app, const std::string& name,
                                       const std::string& help, void (*run)(const Arguments&)) {
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand(name, help);
  command->add_option("config", arguments->file, "the experiment (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--set", arguments->overrides,
                      "replace a value of the file, e.g. --set run.train.epochs=3");
  command->add_option("--backbone", arguments->backbones, "train only runs of these backbones");
  command->add_option("--variant", arguments->variants, "train only runs of these variants");
  command->add_option("--minutes", arguments->minutes, "start no run after so many minutes")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--dry-run", arguments->dry_run, "list the runs that have no result yet");
  command->add_option("--cell", arguments->cell, "train one run (used by its own processes)")
      ->group("");
  command->callback([arguments, run] { run(*arguments); });
  return arguments;
}

}  // namespace

void add_experiment(CLI::App& app) {
  auto arguments = add_command(
      app, "experiment", "train what is missing of backbones x variants x seeds, write tables",
      run_experiment);
  app.get_subcommand("experiment")
      ->add_flag("--only-tables", arguments->only_tables, "train nothing");
  add_command(app, "tune", "search hyper-parameters with one budget for every variant", run_tune);
}

}  // namespace llmcf::apps
