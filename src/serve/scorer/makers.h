// A table of what can be served: a name, and what makes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace llmcf::serve {

template <typename Made, typename Source>
struct Maker {
  const char* name;
  std::unique_ptr<Made> (*make)(const Source& source);
};

template <typename Made, typename Source, size_t N>
std::vector<std::string> names_of(const Maker<Made, Source> (&makers)[N]) {
  std::vector<std::string> names;
  for (const auto& maker : makers)
    names.emplace_back(maker.name);
  return names;
}

// Throws Error, which calls it a `kind` and names the nearest one that is known.
template <typename Made, typename Source, size_t N>
std::unique_ptr<Made> made_by(const Maker<Made, Source> (&makers)[N], const char* kind,
                              const std::string& name, const Source& source) {
  for (const auto& maker : makers)
    if (name == maker.name) return maker.make(source);
  throw Error(unknown_name(kind, name, names_of(makers)));
}

}  // namespace llmcf::serve
