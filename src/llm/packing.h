// Conversations side by side in rows of one length, so that no row is mostly padding. No libtorch.
//
//   N rows   T tokens of a row
//
// Invariants:
//  1. A token's segment and position are those of its own conversation: nothing of a neighbour is
//     seen, and no number changes (language_model.h).
//  2. A target is the next token of the same conversation, where that is to be learned; -1 else.
//  3. Every conversation is in exactly one row. One longer than T is cut at its end.
#pragma once

#include <cstdint>
#include <vector>

#include "llm/chat_template.h"

namespace llmcf::llm {

struct PackedRows {
  int64_t length = 0;              // T
  std::vector<int64_t> ids;        // [N, T], 0 where padded
  std::vector<int64_t> positions;  // [N, T]
  std::vector<int64_t> segments;   // [N, T]; -1 where padded
  std::vector<int64_t> targets;    // [N, T]
  int64_t rows() const { return length == 0 ? 0 : static_cast<int64_t>(ids.size()) / length; }
  int64_t cut = 0;      // conversations that lost tokens
  int64_t dropped = 0;  // conversations left out: nothing to learn within T tokens
};

// First fit in the given order, over the `kOpenRows` rows opened last. `apart`: one conversation
// per row.
PackedRows pack(const std::vector<TokenizedText>& texts, int64_t length, bool apart = false);

}  // namespace llmcf::llm
