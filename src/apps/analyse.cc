// llmcf analyse: how good is what was retrieved?
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/files.h"
#include "pipeline/analysis.h"

namespace llmcf::apps {

namespace {

struct Arguments {
  ConfigOptions config;
  std::string split = "test";
  std::string out;  // empty = in the workspace
  pipeline::AnalysisOptions options;
};

void execute(const Arguments& arguments) {
  const pipeline::RunConfig config = load_config(arguments.config);
  const data::Split split = pipeline::split_of(arguments.split);
  const auto workspace = open_workspace(config);
  const pipeline::Retrieved retrieved(*workspace, split);
  auto analysis = pipeline::analyse(retrieved, arguments.options);
  analysis.title = config.name;
  analysis.protocol = config.protocol;
  const std::filesystem::path directory = arguments.out.empty()
                                              ? workspace->analysis(arguments.split)
                                              : std::filesystem::path(arguments.out);
  write_file(directory / "analysis.json", pipeline::analysis_json(analysis));
  write_file(directory / "analysis.md", pipeline::analysis_markdown(analysis));
  write_file(directory / "analysis.html", pipeline::analysis_html(analysis));
  fmt::print("{}\npage: {}\n", pipeline::analysis_text(analysis),
             std::filesystem::absolute(directory / "analysis.html").lexically_normal().string());
}

}  // namespace

void add_analyse(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand(
      "analyse",
      "how good is what was retrieved: similarity, agreement with labels and attributes, coverage");
  add_config_options(*command, arguments->config);
  command->add_option("--split", arguments->split, "train, valid or test")->capture_default_str();
  command->add_option("--out", arguments->out,
                      "directory for analysis.{html,json,md}; default: analysis/SPLIT in the "
                      "workspace, which `llmcf erase` clears");
  command->add_option("--seed", arguments->options.seed, "of the shuffled controls")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--permutations", arguments->options.permutations, "for the p-value")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  command->callback([arguments] { execute(*arguments); });
}

}  // namespace llmcf::apps
