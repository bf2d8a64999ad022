// The version of program and library, and of the artefact formats: a change of a format makes its
// stages stale.
#pragma once

#include <string_view>

namespace llmcf::pipeline {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace llmcf::pipeline
