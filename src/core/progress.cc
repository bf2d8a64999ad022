// Draws progress on standard error, rarely enough to cost nothing.
#include "core/progress.h"

#include <atomic>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "core/strings.h"

namespace llmcf {

namespace {

std::atomic<bool> progress_enabled{true};
constexpr auto kTerminalEvery = std::chrono::milliseconds(150);
constexpr auto kPlainEvery = std::chrono::seconds(10);
constexpr int kBarWidth = 24;

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

void set_progress_enabled(bool enabled) {
  progress_enabled = enabled;
}

Progress::Progress(std::string label, int64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      enabled_(progress_enabled) {}

Progress::~Progress() {
  if (enabled_ && terminal_) show(true);
}

void Progress::advance(int64_t amount) {
  const std::lock_guard lock(guard_);
  done_ += amount;
  if (!enabled_) return;
  const auto now = Clock::now();
  if (now - shown_ < (terminal_ ? Clock::duration(kTerminalEvery) : Clock::duration(kPlainEvery)))
    return;
  shown_ = now;
  show(false);
}

void Progress::note(std::string text) {
  const std::lock_guard lock(guard_);
  note_ = std::move(text);
}

void Progress::show(bool last) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  std::string line = fmt::format("{}  ", label_);
  if (total_ > 0) {
    const double share = static_cast<double>(done_) / static_cast<double>(total_);
    const int filled = static_cast<int>(share * kBarWidth);
    if (terminal_) line += fmt::format("[{:=<{}}{: <{}}] ", "", filled, "", kBarWidth - filled);
    line += fmt::format("{:3.0f}%  {}/{} {}", share * 100, with_commas(done_), with_commas(total_),
                        unit_);
  } else {
    line += fmt::format("{} {}", with_commas(done_), unit_);
  }
  line += fmt::format("  {}/s", with_commas(static_cast<int64_t>(rate)));
  if (total_ > 0 && rate > 0 && !last) {
    line += fmt::format("  ETA {}", clock_text(static_cast<double>(total_ - done_) / rate));
  } else {
    line += fmt::format("  {}", clock_text(seconds));
  }
  if (!note_.empty()) line += "  " + note_;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

}  // namespace llmcf
