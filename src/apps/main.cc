// llmcf: the program. Parses the command line, sets process-wide state (log level, threads),
// reports errors.
//
// Exit status: 0 done; 1 bad input, file or configuration (one line on standard error); 2 wrong
// usage; 3 done, but a threshold is violated (llmcf drift); 70 a defect.
#include <cstdlib>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/version.h"

namespace {

struct GlobalOptions {
  std::string log_level = "info";
  int threads = 0;
  bool quiet = false;
};

void apply(const GlobalOptions& options) {
  llmcf::init_logging(options.quiet ? "warn" : options.log_level);
  llmcf::set_progress_enabled(!options.quiet);
  if (options.threads > 0) llmcf::set_thread_count(options.threads);
}

}  // namespace

int main(int argc, char** argv) {
  llmcf::nn::limit_spinning(argv);
  CLI::App app{
      "LLM-CF: language-model knowledge in a recommender, without a language model per request",
      "llmcf"};
  app.set_version_flag("--version", std::string(llmcf::pipeline::kVersion));
  app.require_subcommand(1);
  app.fallthrough();
  GlobalOptions options;
  app.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads to use; 0 = one per core")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--quiet", options.quiet, "only warnings and errors, no progress");
  app.parse_complete_callback([&] { apply(options); });

  llmcf::apps::add_run(app);
  llmcf::apps::add_stages(app);
  llmcf::apps::add_sample(app);
  llmcf::apps::add_pool(app);
  llmcf::apps::add_analyse(app);
  llmcf::apps::add_annotate(app);
  llmcf::apps::add_erase(app);
  llmcf::apps::add_doctor(app);
  llmcf::apps::add_experiment(app);
  llmcf::apps::add_drift(app);
  llmcf::apps::add_llm(app);
  llmcf::apps::add_batch(app);
  llmcf::apps::add_publish(app);
  llmcf::apps::add_serve(app);

  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  } catch (const llmcf::apps::ExitStatus& status) {
    return status.value;
  } catch (const llmcf::Error& error) {
    fmt::print(stderr, "llmcf: error: {}\n", error.what());
    return 1;
  } catch (const std::logic_error& error) {
    fmt::print(stderr, "llmcf: internal error (please report it): {}\n", error.what());
    return 70;
  } catch (const std::exception& error) {
    fmt::print(stderr, "llmcf: error: {}\n", error.what());
    return 1;
  }
}
