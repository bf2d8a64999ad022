// A batch as sequence models see it: plain arrays, no ids on disk, no libtorch. Built by
// train/sequence_builder (and by the golden tests), read by models/sequence_recommender.
//
//   S sequences   N tokens of all of them   Q queries   E distinct examples   R = Q + E samples
//   n negatives   M nodes of all session graphs
//
// Invariants:
//  1. A sequence is a window of a user's history, oldest first, packed without padding. An empty
//     history is one token of row 0 (the padding row), so that every sequence has a state.
//  2. Samples [0, Q) are the queries, [Q, R) the distinct examples. Sample r reads the state at
//  token
//     reads[r], which has seen that token and those before it. A backbone that has one state per
//     sequence gets one sample per sequence, in order, and reads are last tokens.
//  3. `common` carries what the two tasks share: distinct table rows (item_id, user_id), frozen
//  texts
//     and examples by sample. All ids of this file are places in those lists ("slab rows").
#pragma once

#include <cstdint>
#include <vector>

#include "models/batch.h"

namespace llmcf::models {

// Tables of a batch, in order. A model that does not read users has the first one only.
inline constexpr size_t kItemTable = 0;
inline constexpr size_t kUserTable = 1;

// What the data decides about a sequence model.
struct SequenceData {
  int64_t user_rows = 0;  // of the table, out-of-vocabulary row included
  int64_t item_rows = 0;
  int64_t items = 0;           // that can be recommended: rows [1, items]
  int64_t history_length = 0;  // tokens of a sequence at most
  int64_t text_dim = 0;        // W; 0 = no text
};

// Weighted edges by receiving node: node m hears from nodes[offsets[m], offsets[m + 1]).
struct GraphEdges {
  std::vector<int32_t> offsets;  // [M + 1]
  std::vector<int32_t> nodes;
  std::vector<float> weights;
};

// Session graphs over the distinct items of each sequence, as in SR-GNN: an edge from each item to
// the one taken next. Weights: `outgoing` edges of a node sum to 1, and so do `incoming` ones.
struct SessionGraphs {
  std::vector<int32_t> node_offsets;  // [S + 1]
  std::vector<int32_t> items;         // [M] slab rows
  std::vector<int32_t> alias;         // [N] node of each token
  GraphEdges incoming, outgoing;
};

struct SequenceBatch {
  Batch common;  // queries Q, samples R; fields and labels are empty

  std::vector<int32_t> offsets;      // [S + 1]
  std::vector<int32_t> items;        // [N] slab rows
  std::vector<int32_t> reads;        // [R] tokens
  std::vector<int32_t> sample_user;  // [R] slab rows
  std::vector<int32_t> sample_item;  // [R] slab rows: row 0 for queries, whose target is unknown
  SessionGraphs graphs;              // empty unless asked for

  // Training only.
  std::vector<int32_t> target;    // [Q] slab rows
  std::vector<int32_t> negative;  // [n] slab rows, distinct; shared by the batch
  std::vector<float> log_share;   // [Q] log of the target's share of training rows (in-batch loss)

  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return static_cast<int64_t>(items.size()); }
};

}  // namespace llmcf::models
