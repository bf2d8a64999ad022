// llmcf doctor: examines the installation and, if asked, a workspace.
#include "pipeline/doctor.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/run_config.h"

namespace llmcf::apps {

namespace {

// Prints the findings; returns how many are bad.
int print(const std::vector<pipeline::Finding>& findings) {
  int bad = 0;
  for (const auto& finding : findings) {
    const bool is_bad = finding.health == pipeline::Health::kBad;
    bad += is_bad ? 1 : 0;
    const char* mark = is_bad                                         ? "BAD "
                       : finding.health == pipeline::Health::kWarning ? "warn"
                                                                      : "ok  ";
    fmt::print("{}  {:<28} {}\n", mark, finding.subject, finding.detail);
  }
  return bad;
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto* command = app.add_subcommand(
      "doctor", "say what is installed, found and in use, and whether a workspace is sound");
  auto options = std::make_shared<ConfigOptions>();
  command->add_option("config", options->file, "a run's configuration: examine its workspace too")
      ->check(CLI::ExistingFile);
  command->add_option("--workspace", options->workspace, "examine this workspace");
  command->callback([options] {
    nn::set_threads(thread_count());
    int bad = print(pipeline::examine_installation());
    std::filesystem::path workspace = options->workspace;
    if (workspace.empty() && !options->file.empty()) {
      workspace = pipeline::RunConfig::load(options->file, {}).workspace;
    }
    if (!workspace.empty()) {
      fmt::print("\nworkspace {}\n", workspace.string());
      bad += print(pipeline::examine_workspace(workspace));
    }
    if (bad > 0) throw Error(fmt::format("{} finding(s) are bad; see above", bad));
  });
}

}  // namespace llmcf::apps
