// SR-GNN as served (models/seq/srgnn.cc, models/session_graph.h): the graph of one history, over
// its distinct items; repeated steps count once, and the edges that a node hears share the weight
// 1.
//
//   N tokens   M nodes   D width
#include <algorithm>
#include <compare>

#include "serve/scorer/sequence_backbone.h"

namespace llmcf::serve {

namespace {

struct Edge {
  int32_t hears = 0, heard = 0;  // nodes
  auto operator<=>(const Edge&) const = default;
};

struct Graph {
  std::span<const float* const> items;  // [M]
  std::span<const int32_t> node_of;     // [N]
  std::span<const Edge> incoming, outgoing;

  int64_t nodes() const { return static_cast<int64_t>(items.size()); }
};

std::span<Edge> distinct(std::span<Edge> edges) {
  std::sort(edges.begin(), edges.end());
  return edges.first(static_cast<size_t>(std::unique(edges.begin(), edges.end()) - edges.begin()));
}

Graph graph_of(const SequenceTokens& tokens, ScratchArena& arena) {
  auto node_of = arena.span<int32_t>(tokens.count);
  auto first = arena.span<int32_t>(tokens.count);  // token of each node
  auto items = arena.span<const float*>(tokens.count);
  size_t nodes = 0;
  for (int64_t t = 0; t < tokens.count; ++t) {
    size_t node = 0;
    while (node < nodes && tokens.rows[first[node]] != tokens.rows[t])
      ++node;
    if (node == nodes) {
      first[nodes] = static_cast<int32_t>(t);
      items[nodes++] = tokens.items[t];
    }
    node_of[static_cast<size_t>(t)] = static_cast<int32_t>(node);
  }
  auto incoming = arena.span<Edge>(tokens.count - 1), outgoing = arena.span<Edge>(tokens.count - 1);
  for (size_t t = 0; t + 1 < node_of.size(); ++t) {
    incoming[t] = {node_of[t + 1], node_of[t]};
    outgoing[t] = {node_of[t], node_of[t + 1]};
  }
  return {items.first(nodes), node_of, distinct(incoming), distinct(outgoing)};
}

class Srgnn final : public SequenceBackbone {
 public:
  explicit Srgnn(const SequenceSource& source)
      : width_(source.bundle.spec().embed_dim),
        steps_(source.options.get_int("steps", 1, 1, 16)),
        edge_in_(linear(source, "edge_in")),
        edge_out_(linear(source, "edge_out")),
        input_(linear(source, "input")),
        hidden_(linear(source, "hidden")),
        last_(linear(source, "last")),
        each_(linear(source, "each")),
        readout_(linear(source, "readout")),
        bias_in_(source.bundle.weight("backbone.bias_in")),
        bias_out_(source.bundle.weight("backbone.bias_out")),
        score_(source.bundle.weight("backbone.score.weight")) {}

  SequenceState state(const SequenceTokens& tokens, ScratchArena& arena) const override {
    const int64_t D = width_;
    const Graph graph = graph_of(tokens, arena);
    Matrix nodes = Matrix::make(graph.nodes(), D, arena);
    for (int64_t node = 0; node < graph.nodes(); ++node)
      std::copy_n(graph.items[static_cast<size_t>(node)], D, nodes.row(node));
    for (int64_t step = 0; step < steps_; ++step)
      nodes = passed(graph, nodes, arena);
    const float* newest = nodes.row(graph.node_of.back());
    const Matrix asked = Matrix::make(1, D, arena), told = Matrix::make(graph.nodes(), D, arena);
    last_.apply({const_cast<float*>(newest), 1, nodes.stride}, asked);  // NOLINT: read only
    each_.apply(nodes, told);
    float* weight = arena.floats(graph.nodes());
    for (int64_t node = 0; node < graph.nodes(); ++node) {
      float* row = told.row(node);
      kernels::add_scaled(row, asked.data, 1, D);
      kernels::sigmoid_of(row, D);
      weight[node] = kernels::dot(row, score_.data(), D);
    }
    const Matrix both = Matrix::make(1, 2 * D, arena);  // [all items, the last one]
    std::fill_n(both.data, D, 0.0F);
    for (const int32_t node : graph.node_of)
      kernels::add_scaled(both.data, nodes.row(node), weight[node], D);
    std::copy_n(newest, D, both.data + D);
    const Matrix state = Matrix::make(1, D, arena);
    readout_.apply(both, state);
    return {state.data, state.data};
  }

 private:
  static Linear linear(const SequenceSource& source, const std::string& name) {
    return Linear(LinearWeights::of(source.bundle, "backbone." + name));
  }

  // What every node hears of `from`, into columns [column, column + D) of `out`.
  void hear(std::span<const Edge> edges, const Matrix& from, std::span<const float> bias,
            int64_t column, const Matrix& out) const {
    for (int64_t node = 0; node < out.count; ++node)
      std::copy_n(bias.data(), width_, out.row(node) + column);
    for (size_t begin = 0, end = 0; begin < edges.size(); begin = end) {
      while (end < edges.size() && edges[end].hears == edges[begin].hears)
        ++end;
      const float share = 1.0F / static_cast<float>(end - begin);
      for (const Edge& edge : edges.subspan(begin, end - begin))
        kernels::add_scaled(out.row(edge.hears) + column, from.row(edge.heard), share, width_);
    }
  }

  // One step of message passing: [M, D].
  Matrix passed(const Graph& graph, const Matrix& nodes, ScratchArena& arena) const {
    const int64_t D = width_, M = nodes.count;
    const Matrix in = Matrix::make(M, D, arena), out = Matrix::make(M, D, arena);
    edge_in_.apply(nodes, in);
    edge_out_.apply(nodes, out);
    const Matrix heard = Matrix::make(M, 2 * D, arena);
    hear(graph.incoming, in, bias_in_, 0, heard);
    hear(graph.outgoing, out, bias_out_, D, heard);
    const Matrix gates = Matrix::make(M, 3 * D, arena), own = Matrix::make(M, 3 * D, arena);
    input_.apply(heard, gates);
    hidden_.apply(nodes, own);
    const Matrix next = Matrix::make(M, D, arena);
    for (int64_t node = 0; node < M; ++node) {
      float* gate = gates.row(node);
      kernels::add_scaled(gate, own.row(node), 1, 2 * D);
      kernels::sigmoid_of(gate, 2 * D);
      float* fresh = gate + 2 * D;
      for (int64_t d = 0; d < D; ++d)
        fresh[d] += gate[d] * own.row(node)[2 * D + d];
      kernels::tanh_of(fresh, D);
      for (int64_t d = 0; d < D; ++d)
        next.row(node)[d] = fresh[d] + gate[D + d] * (nodes.row(node)[d] - fresh[d]);
    }
    return next;
  }

  int64_t width_, steps_;
  Linear edge_in_, edge_out_, input_, hidden_, last_, each_, readout_;
  std::span<const float> bias_in_, bias_out_, score_;  // [D]
};

}  // namespace

std::unique_ptr<SequenceBackbone> make_srgnn(const SequenceSource& source) {
  return std::make_unique<Srgnn>(source);
}

}  // namespace llmcf::serve
