// llmcf llm study: the RecGen experiment.
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/files.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/experiment/recgen_study.h"

namespace llmcf::apps {

void add_llm_study(CLI::App& llm) {
  struct Arguments {
    std::string file;
    std::vector<std::string> overrides, arms;
    std::filesystem::path markdown;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = llm.add_subcommand(
      "study", "the RecGen experiment: what tuning on what does to ranking and general ability");
  command->add_option("config", arguments->file, "arms and data (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--arm", arguments->arms, "make only these");
  command->add_option("--set", arguments->overrides, "replace a value of the file");
  command->add_option("--markdown", arguments->markdown, "write the table there too");
  command->callback([arguments] {
    nn::set_threads(thread_count());
    Config config = Config::load(arguments->file);
    pipeline::apply_overrides(config, arguments->overrides);
    const auto report = pipeline::experiment::run_recgen_study(config, arguments->arms);
    const pipeline::Grid grid = pipeline::experiment::study_grid(report);
    fmt::print("{}\n{}\n", pipeline::grid_text(grid), report.page.lexically_normal().string());
    if (!arguments->markdown.empty())
      write_file(arguments->markdown, pipeline::grid_markdown(grid));
  });
}

}  // namespace llmcf::apps
