// llmcf publish: a finished run becomes the one file that `llmcf serve` opens.
#include "pipeline/publish.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/strings.h"
#include "core/threads.h"
#include "nn/runtime.h"

namespace llmcf::apps {

namespace {

struct PublishArguments {
  ConfigOptions config;
  pipeline::PublishOptions options;
  int64_t cells = -1, probes = 0;  // -1, 0: not given

  void choose_scan() {
    if (cells < 0 && probes > 0) throw Error("--probes: needs --cells");
    if (cells >= 0)
      options.scan = serve::ScanOptions{
          .cells = cells, .probes = probes > 0 ? probes : serve::ScanOptions::probes_of(cells)};
  }
};

}  // namespace

void add_publish(CLI::App& app) {
  auto arguments = std::make_shared<PublishArguments>();
  auto* command = app.add_subcommand("publish", "write a finished run as one file to serve from");
  add_config_options(*command, arguments->config);
  command->add_option("--out", arguments->options.out, "the bundle to write")->required();
  command->add_option("--variant", arguments->options.variant,
                      "what to publish (default: the run's last variant)");
  command->add_option("--seed", arguments->options.seed,
                      "which run of it (default: the first seed)");
  command
      ->add_option("--neighbours", arguments->options.neighbours,
                   "similar items kept per item, label and fold: more make requests faster and the "
                   "file larger (default 256)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option(
          "--cells", arguments->cells,
          "search examples in this many cells instead of all of them (default: 0, all, up to "
          "200,000 examples; beyond, twice the root of their number)")
      ->check(CLI::Range(0, 65536));
  command
      ->add_option("--probes", arguments->probes, "cells that a request reads (default: one in 48)")
      ->check(CLI::Range(1, 65536));
  command->callback([arguments] {
    nn::set_threads(thread_count());
    arguments->choose_scan();
    const pipeline::Published done =
        pipeline::publish(load_config(arguments->config), arguments->options);
    fmt::print("published {} ({}): {} users, {} items, {} examples, version {}\n",
               std::filesystem::absolute(arguments->options.out).lexically_normal().string(),
               human_bytes(static_cast<double>(done.bytes)), with_commas(done.users),
               with_commas(done.items), with_commas(done.examples), done.version);
  });
}

}  // namespace llmcf::apps
