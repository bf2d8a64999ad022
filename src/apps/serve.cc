// llmcf serve: answers requests from a published bundle until it is told to stop (SIGTERM, SIGINT).
// SIGHUP puts the bundles' files into service anew, those of canary and shadow too.
#include <csignal>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "serve/api.h"

namespace llmcf::apps {

namespace {

struct ServeArguments {
  std::string bundle;
  std::string candidates;
  std::string config;
  std::string address;
  int port = -1;
};

Config config_of(const ServeArguments& arguments) {
  Config config =
      arguments.config.empty() ? Config::parse("{}", "serve.yaml") : Config::load(arguments.config);
  if (!arguments.candidates.empty())
    config.set("candidates.bundle", std::filesystem::absolute(arguments.candidates).string());
  if (!arguments.address.empty()) config.set("listen.address", arguments.address);
  if (arguments.port >= 0) config.set("listen.port", std::to_string(arguments.port));
  return config;
}

// Each for itself: a file that is damaged keeps no other from coming into service.
void reload_all(serve::Service& service) {
  for (const serve::Role role : service.roles()) {
    try {
      service.reload(role);
    } catch (const Error& error) {
      log::error("the {} bundle stays as it is: {}", serve::role_name(role), error.what());
    }
  }
}

void run(const ServeArguments& arguments) {
  // Blocked here, so that every thread inherits it: signals are taken below, one by one.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  const Config config = config_of(arguments);
  const serve::ApiOptions options = serve::ApiOptions::from(config);
  serve::Service service(arguments.bundle, serve::open_history_store(config.section("histories")),
                         options.limits, options.first_stage);
  if (options.canary) service.put(serve::Role::kCanary, *options.canary);
  if (options.shadow) service.put(serve::Role::kShadow, *options.shadow);
  serve::Api api(service, options);
  fmt::print("serving {} at {}\n", arguments.bundle, api.url());
  std::fflush(stdout);
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    reload_all(service);
  }
  api.drain();
  log::info("stopping");
}

}  // namespace

void add_serve(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  auto* command = app.add_subcommand("serve", "answer requests from a published bundle over HTTP");
  command->add_option("bundle", arguments->bundle, "what `llmcf publish` wrote")
      ->required()
      ->check(CLI::ExistingFile);
  command
      ->add_option("--candidates", arguments->candidates,
                   "a published sequence model, whose items the bundle's model ranks")
      ->check(CLI::ExistingFile);
  command
      ->add_option(
          "--config", arguments->config,
          "listen, keys, histories, limits, canary, shadow, candidates, first_stage (YAML)")
      ->check(CLI::ExistingFile);
  command->add_option("--address", arguments->address, "IP address to listen on (127.0.0.1)");
  command->add_option("--port", arguments->port, "port to listen on (8080); 0 = a free one")
      ->check(CLI::Range(0, 65535));
  command->footer("SIGHUP puts the bundles' files into service anew; SIGTERM ends gracefully.");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace llmcf::apps
