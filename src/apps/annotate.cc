// llmcf annotate: a person judges retrieved examples.
#include "pipeline/annotate.h"

#include <cstdlib>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"

namespace llmcf::apps {

namespace {

struct Arguments {
  ConfigOptions config;
  std::string split = "test";
  pipeline::AnnotateOptions options;
  bool report = false;
};

void execute(const Arguments& arguments) {
  const data::Split split = pipeline::split_of(arguments.split);
  const auto workspace = open_workspace(load_config(arguments.config));
  const std::filesystem::path path = workspace->annotations();
  pipeline::erase_annotations(*workspace);
  if (!arguments.report) {
    if (arguments.options.annotator.empty())
      throw Error("--annotator: give your name (USER is not set), e.g. --annotator anna");
    const pipeline::Retrieved retrieved(*workspace, split);
    const auto session =
        pipeline::annotate(retrieved, path, arguments.options, std::cin, std::cout);
    fmt::print("\n{} judged now; kept in {}\n{}\n", session.size(), path.string(),
               pipeline::session_text(session));
  }
  fmt::print("{}", pipeline::annotation_report(pipeline::read_annotations(path), arguments.split,
                                               arguments.options.seed));
}

}  // namespace

void add_annotate(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  if (const char* user = std::getenv("USER")) arguments->options.annotator = user;
  auto* command = app.add_subcommand(
      "annotate", "judge retrieved examples one by one; says how judgements and similarity agree");
  add_config_options(*command, arguments->config);
  command->add_option("--sample", arguments->options.sample, "pairs to judge in all")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--split", arguments->split, "train, valid or test")->capture_default_str();
  command->add_option("--seed", arguments->options.seed, "of the sample")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--annotator", arguments->options.annotator, "your name; default: $USER");
  command->add_flag("--report", arguments->report, "ask nothing, only report");
  command->callback([arguments] { execute(*arguments); });
}

}  // namespace llmcf::apps
