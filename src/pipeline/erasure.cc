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
  // Who is listed may be left of an erasure that was interrupted.
  const auto is_known = [&] {
    return in_pool || workspace.is_erased(user) || in_dataset(workspace, user);
  };
  if (!even_if_unknown && !is_known()) {
    throw Error(fmt::format(
        "{}: neither data set nor pool has a user '{}': nothing was erased; ids are those of the "
        "input (--force erases all the same, so that a later import leaves them out)",
        workspace.root().string(), user));
  }
  // The list first: whatever a kill or an error interrupts from here on, the next run finishes.
  workspace.erase(user);
  const int64_t jobs = pool ? pool->erase_user(user) : 0;
  erase_annotations(workspace);
  return jobs;
}

void erase_from(cot::Pool& pool, const Workspace& workspace) {
  if (!workspace.has_erased()) return;
  for (const std::string& user : pool.users())
    if (workspace.is_erased(user)) pool.erase_user(user);
}

}  // namespace llmcf::pipeline
