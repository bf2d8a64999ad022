#include "pipeline/drift_windows.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kDay = 86400;

std::optional<double> optional_number(const Config& config, const std::string& key, double low,
                                      double high) {
  if (!config.has(key)) return std::nullopt;
  return config.get_number(key, low, low, high);
}

bool has_rows(std::span<const int64_t> times, int64_t begin, int64_t end) {
  const auto first = std::lower_bound(times.begin(), times.end(), begin);
  return first != times.end() && *first < end;
}

void check_filled(std::span<const int64_t> times, const TimeWindows& windows) {
  for (size_t index = 0; index + 1 < windows.bounds.size(); ++index) {
    if (has_rows(times, windows.bounds[index], windows.bounds[index + 1])) continue;
    throw Error(
        fmt::format("drift: window {} of {} ({} to {}) holds no row; the last row is of {}. Lower "
                    "drift.windows, drift.window_days or drift.start_share",
                    index + 1, windows.size(), date_text(windows.bounds[index]),
                    date_text(windows.bounds[index + 1]), date_text(times.back())));
  }
  if (!has_rows(times, times.front(), windows.valid_from) ||
      !has_rows(times, windows.valid_from, windows.begin())) {
    throw Error(fmt::format(
        "drift: no training or no validation rows are left before {} (rows start on {}); raise "
        "drift.start_share or change split.valid_share",
        date_text(windows.begin()), date_text(times.front())));
  }
}

}  // namespace

DriftOptions DriftOptions::from(const Config& config) {
  DriftOptions options;
  options.windows = config.get_int("windows", options.windows, 1, 1000);
  options.window_days = config.get_int("window_days", options.window_days, 0, 36500);
  options.start_share = config.get_number("start_share", options.start_share, 0.01, 0.99);
  const std::vector<std::string> known = {"frozen", "refreshed"};
  const auto arms = config.get<std::vector<std::string>>("arms", known);
  for (const std::string& arm : arms) {
    if (std::find(known.begin(), known.end(), arm) == known.end())
      config.fail("arms", unknown_name("arm", arm, known));
  }
  const auto has_arm = [&](const std::string& arm) {
    return std::find(arms.begin(), arms.end(), arm) != arms.end();
  };
  if (!has_arm("frozen")) config.fail("arms", "'frozen' is what the others are compared with");
  options.refreshed = has_arm("refreshed");
  options.max_auc_drop = optional_number(config, "max_auc_drop", -1, 1);
  options.max_refresh_gain = optional_number(config, "max_refresh_gain", -1, 1);
  options.min_similarity = optional_number(config, "min_similarity", -1, 1);
  options.min_coverage = optional_number(config, "min_coverage", 0, 1);
  options.min_item_coverage = optional_number(config, "min_item_coverage", 0, 1);
  if (options.max_refresh_gain && !options.refreshed)
    config.fail("max_refresh_gain", "needs the arm 'refreshed'");
  config.finish();
  return options;
}

size_t TimeWindows::of(int64_t time) const {
  LLMCF_ASSERT(time >= bounds.front() && time < bounds.back());
  const auto after = std::upper_bound(bounds.begin(), bounds.end(), time);
  return static_cast<size_t>(after - bounds.begin()) - 1;
}

std::string TimeWindows::canonical() const {
  return fmt::format("{} {}", valid_from, fmt::join(bounds, " "));
}

TimeWindows find_windows(std::span<const int64_t> times, const DriftOptions& options,
                         double valid_share) {
  if (times.empty()) throw Error("drift: the data set has no rows; lower split.min_history");
  const auto time_at = [&](double share) {
    const auto index = static_cast<size_t>(std::llround(share * static_cast<double>(times.size())));
    return times[std::min(index, times.size() - 1)];
  };
  TimeWindows windows;
  windows.valid_from = time_at(std::max(0.0, options.start_share - valid_share));
  const auto count = static_cast<double>(options.windows);
  for (int64_t window = 0; window < options.windows; ++window) {
    const double rest = (1 - options.start_share) * static_cast<double>(window) / count;
    windows.bounds.push_back(options.window_days > 0 ? time_at(options.start_share) +
                                                           window * options.window_days * kDay
                                                     : time_at(options.start_share + rest));
  }
  windows.bounds.push_back(options.window_days > 0
                               ? windows.bounds.back() + options.window_days * kDay
                               : times.back() + 1);
  check_filled(times, windows);
  return windows;
}

std::string date_text(int64_t time) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<std::time_t>(time)));
}

}  // namespace llmcf::pipeline
