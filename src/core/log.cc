// Sets up the one logger.
#include "core/log.h"

#include <algorithm>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>

#include "core/error.h"

namespace llmcf {

void init_logging(const std::string& level) {
  const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error", "off"};
  if (std::find(levels.begin(), levels.end(), level) == levels.end()) {
    throw Error(unknown_name("log level", level, levels));
  }
  auto logger =
      std::make_shared<spdlog::logger>("llmcf", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("[%H:%M:%S] %l %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace llmcf
