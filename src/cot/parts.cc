// See parts.h.
#include "cot/parts.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/strings.h"

namespace llmcf::cot {

namespace {

const std::vector<std::string>& names() {
  static const std::vector<std::string> list = {"profile", "target", "alignment", "diversity"};
  return list;
}

}  // namespace

Part part_named(const std::string& name) {
  const auto found = std::find(names().begin(), names().end(), name);
  if (found == names().end()) throw Error(unknown_name("part", name, names()));
  return static_cast<Part>(found - names().begin());
}

Parts Parts::from(const Config& reason) {
  const auto wanted = reason.get<std::vector<std::string>>("parts", names());
  if (wanted.empty()) reason.fail("parts", "name at least one of profile, target, ...");
  Parts parts{.wanted = {}};
  for (const std::string& name : wanted) {
    try {
      parts.wanted[static_cast<size_t>(part_named(name))] = true;
    } catch (const Error& error) {
      reason.fail("parts", error.what());
    }
  }
  return parts;
}

}  // namespace llmcf::cot
