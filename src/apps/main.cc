// llmcf: the program. Parses the command line, sets process-wide state (log level, threads),
// reports errors.
//
// Exit status: 0 done; 1 bad input, file or configuration (one line on standard error); 2 wrong
// usage; 3 a defect.
#include <cstdlib>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/threads.h"
#include "pipeline/version.h"

namespace {

struct GlobalOptions {
  std::string log_level = "info";
  int threads = 0;
  bool quiet = false;
};

// OpenMP's threads spin at every barrier for about a millisecond before they sleep. On cores that
// are shared with anything else that turns milliseconds of work into seconds, so unless the
// environment says otherwise they spin for a few microseconds only. OpenMP reads this when the
// process starts, hence the second start.
void start_again_with_short_spins(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "4000", 1);
  ::execv("/proc/self/exe", argv);  // returns only if it failed: then go on as we are
}

void apply(const GlobalOptions& options) {
  llmcf::init_logging(options.quiet ? "warn" : options.log_level);
  llmcf::set_progress_enabled(!options.quiet);
  if (options.threads > 0) llmcf::set_thread_count(options.threads);
}

}  // namespace

int main(int argc, char** argv) {
  start_again_with_short_spins(argv);
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
  llmcf::apps::add_erase(app);
  llmcf::apps::add_doctor(app);

  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  } catch (const llmcf::Error& error) {
    fmt::print(stderr, "llmcf: error: {}\n", error.what());
    return 1;
  } catch (const std::logic_error& error) {
    fmt::print(stderr, "llmcf: internal error (please report it): {}\n", error.what());
    return 3;
  } catch (const std::exception& error) {
    fmt::print(stderr, "llmcf: error: {}\n", error.what());
    return 1;
  }
}
