// llmcf score, llmcf recommend: batch use of a finished run.
#include "pipeline/batch.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/threads.h"
#include "nn/runtime.h"

namespace llmcf::apps {

namespace {

struct BatchArguments {
  ConfigOptions config;
  pipeline::BatchOptions options;
  pipeline::RecommendOptions what;
  std::string pairs;
};

void add_batch_options(CLI::App& command, BatchArguments& arguments) {
  add_config_options(command, arguments.config);
  command
      .add_option("--out", arguments.options.out,
                  "file to write: JSON lines if it ends in .jsonl, else TSV with a header")
      ->required();
  command.add_option("--variant", arguments.options.variant,
                     "whose weights to use (default: the run's last variant)");
  command.add_option("--seed", arguments.options.seed, "which run of it (default: the first seed)");
}

void say_written(int64_t count, const char* what, const pipeline::BatchOptions& options) {
  fmt::print("{} {}: {}\n", count, what,
             std::filesystem::absolute(options.out).lexically_normal().string());
}

}  // namespace

void add_batch(CLI::App& app) {
  auto arguments = std::make_shared<BatchArguments>();
  auto* score = app.add_subcommand("score", "score given pairs of users and items");
  add_batch_options(*score, *arguments);
  score->add_option("--pairs", arguments->pairs, "TSV with the columns user and item")
      ->required()
      ->check(CLI::ExistingFile);
  score->callback([arguments] {
    nn::set_threads(thread_count());
    say_written(
        pipeline::score_pairs(load_config(arguments->config), arguments->pairs, arguments->options),
        "pairs", arguments->options);
  });

  auto best = std::make_shared<BatchArguments>();
  auto* recommend =
      app.add_subcommand("recommend", "the best of all items for users (sequence backbones)");
  add_batch_options(*recommend, *best);
  recommend->add_option("--k", best->what.k, "items per user (default 10)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  recommend->add_option("--users", best->what.users, "file with one user per line; default: all")
      ->check(CLI::ExistingFile);
  recommend->add_flag("--keep-seen", best->what.keep_seen,
                      "items that the user has seen stay in the list");
  auto* approximate = recommend->add_flag(
      "--approximate", best->what.approximate,
      "look only into the nearest cells of the catalogue; prints how much that misses");
  recommend->add_option("--probes", best->what.probes, "cells per user (default: a 32nd)")
      ->needs(approximate)
      ->check(CLI::PositiveNumber);
  recommend->callback([best] {
    nn::set_threads(thread_count());
    const pipeline::Recommended done =
        pipeline::recommend(load_config(best->config), best->what, best->options);
    say_written(done.users, "users", best->options);
    if (done.judged > 0)
      fmt::print("recall@{} of the approximate lists, {} users: {:.4f}\n", best->what.k,
                 done.judged, done.recall);
  });
}

}  // namespace llmcf::apps
