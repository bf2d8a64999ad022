// Numbers as texts.
#include "pipeline/report/format.h"

#include <cmath>

#include <fmt/format.h>

namespace llmcf::pipeline {

std::string number_text(double value, int decimals) {
  if (std::isnan(value)) return kDash;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text[0] == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string share_text(double share, int decimals) {
  if (std::isnan(share)) return kDash;
  return number_text(share * 100, decimals) + " %";
}

std::string metric_text(const MetricInfo& info, double value) {
  return info.percent ? share_text(value, info.decimals) : number_text(value, info.decimals);
}

std::string mean_text(const MetricInfo& info, const MetricResult& result) {
  const double deviation = deviation_of(result);
  if (std::isnan(deviation)) return metric_text(info, mean_of(result));
  const double scale = info.percent ? 100 : 1;
  return fmt::format("{} ± {}{}", number_text(mean_of(result) * scale, info.decimals),
                     number_text(deviation * scale, info.decimals), info.percent ? " %" : "");
}

std::string interval_text(const MetricInfo& info, const Interval& interval) {
  const double scale = info.percent ? 100 : 1;
  return fmt::format("{} to {}", number_text(interval.low * scale, info.decimals),
                     metric_text(info, interval.high));
}

std::string difference_text(const MetricInfo& info, double difference) {
  if (std::isnan(difference)) return kDash;
  return (difference >= 0 ? "+" : "") + metric_text(info, difference);
}

std::string p_text(double p_value) {
  if (p_value < 0.001) return "p < .001";
  if (p_value > 0.99) return "p > .99";
  return "p = " + fmt::format("{:.{}f}", p_value, p_value < 0.1 ? 3 : 2).substr(1);
}

std::string duration_text(double seconds) {
  if (std::isnan(seconds)) return kDash;
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

}  // namespace llmcf::pipeline
