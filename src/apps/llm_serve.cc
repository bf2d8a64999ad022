// llmcf llm serve: a language model behind OpenAI's HTTP interface, until SIGINT or SIGTERM.
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/threads.h"
#include "llm/engine.h"
#include "llm/openai_server.h"
#include "nn/runtime.h"

namespace llmcf::apps {

namespace {

struct ServeArguments {
  llm::EngineOptions engine;
  llm::OpenAiOptions api;
  net::ServerOptions server;
  std::string key_variable;
  int64_t timeout = 600, patience = 30;  // seconds
};

// SIGINT and SIGTERM, held back from every thread that is started while this lives. After wait()
// they do what they usually do: a second one ends the program at once.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  ~StopSignals() { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }

 private:
  sigset_t signals_;
};

std::string key_from(const std::string& variable) {
  if (variable.empty()) return "";
  const char* key = std::getenv(variable.c_str());
  if (key == nullptr || *key == '\0')
    throw Error(fmt::format("environment variable {} (--api-key-env) is not set; export {}=<key>",
                            variable, variable));
  return key;
}

void serve(ServeArguments arguments) {
  const StopSignals signals;
  nn::set_threads(thread_count());
  arguments.api.api_key = key_from(arguments.key_variable);
  arguments.server.request_timeout = std::chrono::seconds(arguments.timeout);
  // A worker waits for its answers; what the slots cannot take waits in the engine.
  arguments.server.workers = static_cast<int>(2 * arguments.engine.slots);
  net::HttpServer server(arguments.server);
  llm::Engine engine(arguments.engine);
  llm::serve_openai(server, engine, arguments.api);
  server.start();
  if (arguments.server.address != "localhost" && !net::is_loopback(server.url()) &&
      arguments.api.api_key.empty())
    log::warn("whoever reaches {} may use the model: --api-key-env asks for a key", server.url());
  fmt::print("{} serves {}\n", server.url(),
             arguments.api.model.empty() ? engine.name() : arguments.api.model);
  std::fflush(stdout);
  signals.wait();
  log::info("stopping: what runs is finished, for at most {} s", arguments.patience);
  server.stop(std::chrono::seconds(arguments.patience));
}

}  // namespace

void add_llm_serve(CLI::App& parent, void (*add_engine_options)(CLI::App&, llm::EngineOptions&)) {
  auto arguments = std::make_shared<ServeArguments>();
  arguments->server.port = 8000;
  auto* command = parent.add_subcommand("serve", "answer over HTTP as OpenAI's servers do");
  add_engine_options(*command, arguments->engine);
  auto& server = arguments->server;
  command->add_option("--address", server.address, "IP address to listen on")
      ->capture_default_str();
  command->add_option("--port", server.port, "0 = a free one")->capture_default_str();
  command->add_option("--name", arguments->api.model, "the model's name; default: its directory's");
  command->add_option("--api-key-env", arguments->key_variable,
                      "environment variable with the key that clients must send");
  command->add_option("--certificate", server.certificate, "PEM; with --key: HTTPS")
      ->check(CLI::ExistingFile);
  command->add_option("--key", server.key, "PEM, the certificate's")->check(CLI::ExistingFile);
  command->add_option("--queue", server.queue, "requests that wait; more are answered 503")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--timeout", arguments->timeout, "seconds of a request at most; 0 = no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--patience", arguments->patience, "seconds that stopping waits")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([arguments] { serve(*arguments); });
}

}  // namespace llmcf::apps
