// The key of a stage: everything that its outputs are a function of, hashed. Order of the parts
// counts.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/hash.h"

namespace llmcf::pipeline {

// `format` is the version of the stage's outputs: raise it when their meaning or layout changes.
inline std::string stage_key(std::string_view stage, int format,
                             std::initializer_list<std::string_view> parts) {
  Hasher hasher;
  hasher.add_field(stage);
  hasher.add_field(std::to_string(format));
  for (const std::string_view part : parts)
    hasher.add_field(part);
  return hasher.hex();
}

}  // namespace llmcf::pipeline
