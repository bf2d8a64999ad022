#include "pipeline/retrieved.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::pipeline {

namespace {

// A stage that was killed left no record: its outputs may be of another run.
void check_finished(const Workspace& workspace) {
  for (const char* stage : {"import", "split", "pool", "retrieve"}) {
    if (std::filesystem::exists(workspace.state(stage))) continue;
    throw Error(fmt::format(
        "{}: the stage '{}' has not finished here; `llmcf retrieve CONFIG` runs what is "
        "missing (for a configuration with a variant that reads examples)",
        workspace.root().string(), stage));
  }
}

}  // namespace

data::Split split_of(std::string_view name) {
  std::vector<std::string> names;
  for (const data::Split split : data::kAllSplits) {
    if (data::split_name(split) == name) return split;
    names.emplace_back(data::split_name(split));
  }
  throw Error("--split: " + unknown_name("split", name, names));
}

Retrieved::Retrieved(const Workspace& workspace, data::Split part)
    : split((check_finished(workspace), part)),
      dataset(workspace.dataset()),
      rows(workspace.rows()),
      examples(workspace.examples()),
      assignment(retrieval::Assignment::load(workspace.retrieval(data::split_name(part)))) {
  const bool fits = assignment.rows == queries().size() &&
                    std::all_of(assignment.ids.begin(), assignment.ids.end(), [&](int32_t id) {
                      return id < static_cast<int64_t>(examples.size());
                    });
  if (!fits) {
    throw Error(
        fmt::format("{}: what was retrieved does not belong to the present rows and examples; "
                    "`llmcf retrieve CONFIG` does it again (for a click model: a sequence model "
                    "has examples for its positive rows only, which this command does not read)",
                    workspace.root().string()));
  }
}

}  // namespace llmcf::pipeline
