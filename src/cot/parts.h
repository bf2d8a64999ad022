// The parts of a chain of thought: the paper's four asks (Sun et al., CIKM 2024, section 3.2), or
// some of them, for studies of how deep reasoning must go.
#pragma once

#include <array>
#include <string>

#include "core/config.h"

namespace llmcf::cot {

enum class Part { kProfile, kTarget, kAlignment, kDiversity };

// "profile", "target", "alignment", "diversity". Throws Error naming the nearest.
Part part_named(const std::string& name);

// A set of parts, never empty. All four by default.
struct Parts {
  std::array<bool, 4> wanted = {true, true, true, true};  // by Part

  bool has(Part part) const { return wanted[static_cast<size_t>(part)]; }
  bool all() const { return wanted == std::array<bool, 4>{true, true, true, true}; }
  bool operator==(const Parts&) const = default;

  // Key `parts`: a list of names. Throws InputError.
  static Parts from(const Config& reason);
};

}  // namespace llmcf::cot
