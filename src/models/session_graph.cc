#include "models/session_graph.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace llmcf::models {

namespace {

using Edge = std::pair<int32_t, int32_t>;  // from whom a node hears: (hearer, heard)

// Edges grouped by hearer, behind those that are there; `first` and `count` say which nodes.
void append(std::vector<Edge>& edges, int32_t first, int32_t count, GraphEdges& out) {
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  auto edge = edges.begin();
  for (int32_t node = first; node < first + count; ++node) {
    const auto begin = edge;
    while (edge != edges.end() && edge->first == node)
      ++edge;
    const float share = 1.0F / static_cast<float>(std::max<int64_t>(edge - begin, 1));
    for (auto heard = begin; heard != edge; ++heard) {
      out.nodes.push_back(heard->second);
      out.weights.push_back(share);
    }
    out.offsets.push_back(static_cast<int32_t>(out.nodes.size()));
  }
}

}  // namespace

void SessionGraphBuilder::begin(int64_t capacity, SessionGraphs& graphs) {
  node_of_.assign(static_cast<size_t>(capacity), -1);
  graphs.node_offsets.assign(1, 0);
  graphs.items.clear();
  graphs.alias.clear();
  for (GraphEdges* edges : {&graphs.incoming, &graphs.outgoing}) {
    edges->offsets.assign(1, 0);
    edges->nodes.clear();
    edges->weights.clear();
  }
}

void SessionGraphBuilder::add(std::span<const int32_t> items, SessionGraphs& graphs) {
  LLMCF_ASSERT(!items.empty());
  const auto first = static_cast<int32_t>(graphs.items.size());
  const size_t tokens = graphs.alias.size();
  for (const int32_t item : items) {
    int32_t& node = node_of_[static_cast<size_t>(item)];
    if (node < 0) {
      node = static_cast<int32_t>(graphs.items.size());
      graphs.items.push_back(item);
    }
    graphs.alias.push_back(node);
  }
  std::vector<Edge> incoming, outgoing;
  for (size_t t = tokens; t + 1 < graphs.alias.size(); ++t) {
    incoming.emplace_back(graphs.alias[t + 1], graphs.alias[t]);
    outgoing.emplace_back(graphs.alias[t], graphs.alias[t + 1]);
  }
  const auto count = static_cast<int32_t>(graphs.items.size()) - first;
  append(incoming, first, count, graphs.incoming);
  append(outgoing, first, count, graphs.outgoing);
  for (const int32_t item : items)
    node_of_[static_cast<size_t>(item)] = -1;
  graphs.node_offsets.push_back(static_cast<int32_t>(graphs.items.size()));
}

}  // namespace llmcf::models
