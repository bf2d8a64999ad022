// llmcf erase: removes a user from a workspace, everywhere.
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "pipeline/erasure.h"

namespace llmcf::apps {

void add_erase(CLI::App& app) {
  struct Arguments {
    ConfigOptions config;
    std::string user;
    bool force = false;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command =
      app.add_subcommand("erase",
                         "remove a user everywhere: pool, judgements, data set, examples, models, "
                         "report; later imports leave them out");
  add_config_options(*command, arguments->config);
  command->add_option("--user", arguments->user, "the user's id, as in the input")->required();
  command->add_flag("--force", arguments->force, "also if the workspace does not know the user");
  command->callback([arguments] {
    const auto workspace = open_workspace(load_config(arguments->config));
    const int64_t jobs = pipeline::erase_user(*workspace, arguments->user, arguments->force);
    fmt::print(
        "erased: {} job(s) of the pool; data set, rows, examples, models and report were removed "
        "and are made "
        "again by `llmcf run`. The input files are yours: the user is left out of later imports.\n",
        jobs);
  });
}

}  // namespace llmcf::apps
