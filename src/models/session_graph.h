// Session graphs of SR-GNN (Wu et al., AAAI 2019, section 3.2): the distinct items of a history as
// nodes, an edge from each item to the one taken next. Repeated steps count once; a node's incoming
// edges share the weight 1, and so do its outgoing ones. No libtorch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/sequence_batch.h"

namespace llmcf::models {

// Appends the graph of one sequence. REQUIRES: at least one item.
class SessionGraphBuilder {
 public:
  // Clears `graphs`; `capacity` is one more than the largest item number that follows.
  void begin(int64_t capacity, SessionGraphs& graphs);
  void add(std::span<const int32_t> items, SessionGraphs& graphs);

 private:
  std::vector<int32_t> node_of_;  // by item; -1 = not in this sequence
};

}  // namespace llmcf::models
