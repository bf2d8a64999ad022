// How the report writes numbers: the same in the page and in every table. NaN is a dash.
#pragma once

#include <string>

#include "pipeline/report/report.h"

namespace llmcf::pipeline {

inline constexpr const char* kDash = "–";

// Fixed decimals.
std::string number_text(double value, int decimals);
// "12.3 %".
std::string share_text(double share, int decimals = 1);
// "0.7831", or "4.20 %" for a metric of kind percent.
std::string metric_text(const MetricInfo& info, double value);
// "0.7831 ± 0.0012"; without the deviation where there is none.
std::string mean_text(const MetricInfo& info, const MetricResult& result);
// "0.7805 to 0.7857".
std::string interval_text(const MetricInfo& info, const Interval& interval);
// "+0.0180".
std::string difference_text(const MetricInfo& info, double difference);
// "p = .31", "p < .001".
std::string p_text(double p_value);
// "1.2 s", "3 min 20 s", "1 h 02 min".
std::string duration_text(double seconds);

}  // namespace llmcf::pipeline
