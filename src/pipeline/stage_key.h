// The key of a stage: everything that its outputs are a function of, hashed. Order of the parts
// counts.
#pragma once

#include <string>
#include <string_view>

#include "core/hash.h"

namespace llmcf::pipeline {

class StageKey {
 public:
  // `format` is the version of the stage's outputs: raise it when their meaning or layout changes.
  StageKey(std::string_view stage, int format) { add(stage).add(std::to_string(format)); }

  StageKey& add(std::string_view part) {
    hasher_.add_field(part);
    return *this;
  }
  std::string hex() const { return hasher_.hex(); }

 private:
  Hasher hasher_;
};

}  // namespace llmcf::pipeline
