// ReportData as JSON (results.json), so that a report can be rendered again without the run.
//
// Invariants:
//  1. parse_report(report_json(data)) equals data; NaN and absent values are null.
//  2. Bytes that are not UTF-8 are replaced, never an error.
//  3. Unknown keys are ignored (written by a newer version); a missing or mistyped one is an error
//  that names its path, e.g. "variants[1].metrics[0].per_seed".
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "pipeline/report/report.h"

namespace llmcf::pipeline {

void to_json(nlohmann::json& json, const ReportData& data);
// Throws InputError (file "results.json").
void from_json(const nlohmann::json& json, ReportData& data);

// Indented text.
std::string report_json(const ReportData& data);
// `name` is the file named in errors. Throws InputError.
ReportData parse_report(std::string_view text, const std::string& name);

}  // namespace llmcf::pipeline
