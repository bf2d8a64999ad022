// llmcf erase: removes a user from a workspace, everywhere.
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "cot/pool.h"
#include "pipeline/run_config.h"
#include "pipeline/workspace.h"

namespace llmcf::apps {

void add_erase(CLI::App& app) {
  struct Arguments {
    ConfigOptions config;
    std::string user;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand("erase",
                                     "remove a user everywhere: pool, data set, examples, models, "
                                     "report; later imports leave them out");
  add_config_options(*command, arguments->config);
  command->add_option("--user", arguments->user, "the user's id, as in the input")->required();
  command->callback([arguments] {
    const auto config =
        pipeline::RunConfig::load(arguments->config.file, arguments->config.overrides);
    pipeline::Workspace workspace(arguments->config.workspace.empty()
                                      ? config.workspace
                                      : std::filesystem::path(arguments->config.workspace));
    // The list first: whatever a kill interrupts from here on, no later import brings the user
    // back.
    workspace.erase(arguments->user);
    int64_t jobs = 0;
    if (std::filesystem::exists(workspace.pool()))
      jobs = cot::Pool(workspace.pool()).erase_user(arguments->user);
    fmt::print(
        "erased: {} job(s) of the pool; data set, rows, examples, models and report were removed "
        "and are made "
        "again by `llmcf run`. The input files are yours: the user is left out of later imports.\n",
        jobs);
  });
}

}  // namespace llmcf::apps
