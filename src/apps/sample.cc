// llmcf sample: writes the synthetic shop.
#include "data/sample.h"

#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"

namespace llmcf::apps {

void add_sample(CLI::App& app) {
  struct Arguments {
    data::SampleOptions options;
    std::string out;
  };
  auto arguments = std::make_shared<Arguments>();
  data::SampleOptions& options = arguments->options;
  auto* command =
      app.add_subcommand("sample", "write a synthetic but believable shop to try things on");
  command->add_option("--out", arguments->out, "directory to write to")->required();
  command->add_option("--users", options.users, "users")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000'000));
  command->add_option("--items", options.items, "items of the catalogue")
      ->capture_default_str()
      ->check(CLI::Range(1, 50'000'000));
  command->add_option("--events-per-user", options.events_per_user, "mean purchases per user")
      ->capture_default_str();
  command
      ->add_option("--cold-share", options.cold_share,
                   "share of items launched in the last quarter")
      ->capture_default_str();
  command
      ->add_option("--items-per-brand", options.items_per_brand, "mean number of a brand's items")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1e6));
  command
      ->add_option("--pursuit", options.pursuit,
                   "how much likelier brands of a user's pursuit are, which no column says; 1 = no "
                   "pursuits")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1000.0));
  command->add_option("--seed", options.seed, "seed: the same one gives the same shop")
      ->capture_default_str();
  command->callback([arguments] {
    data::write_sample(arguments->options, arguments->out);
    fmt::print("sample shop: {} users, {} items in {}\n", arguments->options.users,
               arguments->options.items, arguments->out);
  });
}

}  // namespace llmcf::apps
