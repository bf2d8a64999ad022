// Erasing a user: what a workspace knows of them goes, and does not come back.
#pragma once

#include <cstdint>
#include <string>

#include "cot/pool.h"
#include "pipeline/workspace.h"

namespace llmcf::pipeline {

// Removes the user from the pool, the annotations and every derived artefact and keeps a digest of
// the name, so that later imports leave them out. Returns the jobs removed from the pool. Throws
// Error, changing nothing, if neither data set nor pool nor an earlier erasure knows the user and
// `even_if_unknown` is false.
int64_t erase_user(Workspace& workspace, const std::string& user, bool even_if_unknown);

// Removes from the pool whoever was erased from the workspace: after an import into the pool, or
// after an erasure that was killed half-way.
void erase_from(cot::Pool& pool, const Workspace& workspace);

}  // namespace llmcf::pipeline
