// llmcf run, and one command per stage: `llmcf retrieve FILE` is `llmcf run FILE --until retrieve`.
#include "pipeline/run.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/threads.h"
#include "nn/runtime.h"

namespace llmcf::apps {

namespace {

struct RunArguments {
  ConfigOptions config;
  pipeline::RunOptions options;
  std::vector<std::string> force;
};

void execute(RunArguments& arguments) {
  nn::set_threads(thread_count());
  const pipeline::RunConfig config = load_config(arguments.config);
  arguments.options.force.insert(arguments.force.begin(), arguments.force.end());
  const pipeline::RunOutcome outcome = pipeline::run(config, arguments.options);
  if (!outcome.estimate.empty()) fmt::print("{}\n", outcome.estimate);
  if (!outcome.table.empty()) fmt::print("\n{}\n", outcome.table);
  if (!outcome.report.empty()) {
    fmt::print("report: {}\n",
               std::filesystem::absolute(outcome.report).lexically_normal().string());
  }
}

void add_arguments(CLI::App& command, const std::shared_ptr<RunArguments>& arguments) {
  add_config_options(command, arguments->config);
  command.add_option("--force", arguments->force,
                     "run these stages though nothing changed (e.g. train, train.llmcf.2023)");
}

}  // namespace

void add_config_options(CLI::App& command, ConfigOptions& options) {
  command.add_option("config", options.file, "the run's configuration (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  command.add_option("--workspace", options.workspace,
                     "work here instead of in the configuration's workspace");
  command.add_option("--set", options.overrides,
                     "replace a value of the configuration, e.g. --set train.epochs=3");
}

pipeline::RunConfig load_config(const ConfigOptions& options) {
  auto config = pipeline::RunConfig::load(options.file, options.overrides);
  if (!options.workspace.empty()) config.workspace = options.workspace;
  return config;
}

std::unique_ptr<pipeline::Workspace> open_workspace(const pipeline::RunConfig& config) {
  if (!std::filesystem::is_directory(config.workspace)) {
    throw Error(fmt::format("{}: there is no workspace; `llmcf run CONFIG` makes it",
                            config.workspace.string()));
  }
  return std::make_unique<pipeline::Workspace>(config.workspace);
}

void add_run(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  auto* command = app.add_subcommand("run", "run whatever is stale, from raw logs to the report");
  add_arguments(*command, arguments);
  command->add_option("--until", arguments->options.until, "stop after this stage")
      ->check(CLI::IsMember(pipeline::stage_names()))
      ->capture_default_str();
  command->add_flag(
      "--dry-run", arguments->options.dry_run,
      "say how many rows the reasoner would be asked about, with tokens and money; ask nothing");
  command->callback([arguments] { execute(*arguments); });
}

void add_stages(CLI::App& app) {
  for (const std::string& stage : pipeline::stage_names()) {
    auto arguments = std::make_shared<RunArguments>();
    arguments->options.until = stage;
    const std::string help = fmt::format("run up to and including the stage '{}'", stage);
    // `pool` is the command that looks into the pool; its stage is named by --until.
    if (stage == "pool") continue;
    auto* command = app.add_subcommand(stage, help);
    add_arguments(*command, arguments);
    command->callback([arguments] { execute(*arguments); });
  }
}

}  // namespace llmcf::apps
