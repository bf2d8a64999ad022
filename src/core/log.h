// The one logger. The library logs, it never prints: apps/ decides where lines go (standard error
// by default).
#pragma once

#include <spdlog/spdlog.h>

namespace llmcf {

// Sends log lines to standard error, `[HH:MM:SS] level text`. Level: trace, debug, info, warn,
// error, off. Throws Error for an unknown level.
void init_logging(const std::string& level);

namespace log = ::spdlog;

}  // namespace llmcf
