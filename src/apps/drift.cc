// llmcf drift: how fast quality decays when the pool is not refreshed. Exit status 3 says that a
// threshold of the configuration is violated, so that a scheduler can start a refresh.
#include "pipeline/drift.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/threads.h"
#include "nn/runtime.h"

namespace llmcf::apps {

namespace {

constexpr int kViolated = 3;

struct DriftArguments {
  ConfigOptions config;
  std::vector<std::string> force;
  bool dry_run = false;
};

void execute(const DriftArguments& arguments) {
  nn::set_threads(thread_count());
  const pipeline::RunConfig config = load_config(arguments.config);
  const pipeline::DriftOutcome outcome =
      pipeline::drift(config, {arguments.force.begin(), arguments.force.end()}, arguments.dry_run);
  if (arguments.dry_run) {
    fmt::print("{}\n", outcome.estimate);
    return;
  }
  fmt::print("\n{}\nreport: {}\n", pipeline::drift_text(outcome.data),
             std::filesystem::absolute(outcome.report).lexically_normal().string());
  if (outcome.data.violated()) throw ExitStatus{kViolated};
}

}  // namespace

void add_drift(CLI::App& app) {
  auto arguments = std::make_shared<DriftArguments>();
  auto* command = app.add_subcommand(
      "drift", "measure over windows of time what a pool that is not refreshed costs");
  add_config_options(*command, arguments->config);
  command->add_option("--force", arguments->force, "run these stages though nothing changed");
  command->add_flag("--dry-run", arguments->dry_run,
                    "say what the reasoner would be asked, with tokens and money; ask nothing");
  command->footer("Exit status 3: a threshold of section drift is violated.");
  command->callback([arguments] { execute(*arguments); });
}

}  // namespace llmcf::apps
