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
  int grpc_port = -1;
};

Config config_of(const ServeArguments& arguments) {
  Config config =
      arguments.config.empty() ? Config::parse("{}", "serve.yaml") : Config::load(arguments.config);
  if (!arguments.candidates.empty())
    config.set("candidates.bundle", std::filesystem::absolute(arguments.candidates).string());
  if (!arguments.address.empty()) config.set("listen.address", arguments.address);
  if (arguments.port >= 0) config.set("listen.port", std::to_string(arguments.port));
  if (arguments.grpc_port >= 0) config.set("listen.grpc_port", std::to_string(arguments.grpc_port));
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

// `text` as one word of a shell.
std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char letter : text)
    quoted += letter == '\'' ? "'\\''" : std::string(1, letter);
  return quoted + "'";
}

// A request that can be pasted into a shell: for the first user of the bundle, with the first key.
std::string example_request(const serve::Service& service, const serve::ApiOptions& options,
                            const std::string& key_variable, const std::string& url) {
  serve::Json body = serve::Json::object();
  const auto deployment = service.deployment();
  if (deployment->spec().users > 0) body["user"] = deployment->bundle().users()[1];
  body["k"] = 5;
  std::string line = "curl -s";
  if (!options.server.certificate.empty())
    line += " --cacert " + shell_quoted(std::filesystem::absolute(options.server.certificate));
  if (!key_variable.empty()) line += fmt::format(" -H \"X-API-Key: ${{{}%%,*}}\"", key_variable);
  const std::string text = body.dump(-1, ' ', false, serve::Json::error_handler_t::replace);
  return fmt::format("{} {}/v1/recommend --data {}", line, url, shell_quoted(text));
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
  if (!api.rpc_target().empty()) fmt::print("gRPC at {}\n", api.rpc_target());
  fmt::print("{}\n",
             example_request(service, options, config.section("keys").get<std::string>("env", ""),
                             api.url()));
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
  command->add_option("--grpc-port", arguments->grpc_port, "answer over gRPC too; 0 = a free port")
      ->check(CLI::Range(0, 65535));
  command->footer("SIGHUP puts the bundles' files into service anew; SIGTERM ends gracefully.");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace llmcf::apps
