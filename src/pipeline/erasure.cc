#include "pipeline/erasure.h"

#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "data/dataset.h"
#include "pipeline/annotations.h"

namespace llmcf::pipeline {

namespace {

bool in_dataset(const Workspace& workspace, const std::string& user) {
  if (!std::filesystem::exists(workspace.dataset())) return false;
  const data::Dataset dataset(workspace.dataset());
  for (int64_t id = 1; id <= dataset.num_users(); ++id) {
    if (dataset.user_name(id) == user) return true;
  }
  return false;
}

}  // namespace

int64_t erase_user(Workspace& workspace, const std::string& user, bool even_if_unknown) {
  std::optional<cot::Pool> pool;
  if (std::filesystem::exists(workspace.pool())) pool.emplace(workspace.pool());
  const bool in_pool =
      pool && !(pool->show(user, 1).empty() && pool->show_knowledge(user, 1).empty());
  if (!in_pool && !even_if_unknown && !in_dataset(workspace, user)) {
    throw Error(fmt::format(
        "{}: neither data set nor pool has a user '{}': nothing was erased; ids are those of the "
        "input (--force erases all the same, so that a later import leaves them out)",
        workspace.root().string(), user));
  }
  // The list first: whatever a kill interrupts from here on, the next run finishes.
  workspace.erase(user);
  erase_annotations(workspace);
  return pool ? pool->erase_user(user) : 0;
}

void erase_from(cot::Pool& pool, const Workspace& workspace) {
  if (!workspace.has_erased()) return;
  for (const std::string& user : pool.users())
    if (workspace.is_erased(user)) pool.erase_user(user);
}

}  // namespace llmcf::pipeline
