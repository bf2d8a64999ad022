// A sequence backbone as served (models/seq): forward only, one history at a time. One file of this
// directory per backbone; make_sequence_backbone() lists them.
//
// Invariant: states are those of the trained model in evaluation mode, but for the order of sums.
//
//   N tokens   D embedding width
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "serve/scorer/layers.h"

namespace llmcf::serve {

// A window of a history, oldest item first; an empty history is one token of row 0.
struct SequenceTokens {
  int64_t count = 0;                    // N, at least 1
  const int32_t* rows = nullptr;        // [N] of the item table: equal rows are equal items
  const float* const* items = nullptr;  // [N] their embeddings, [D] each
  const float* user = nullptr;          // [D]; null unless the model has a vector per user
};

// Both lie in the arena.
struct SequenceState {
  const float* state = nullptr;    // [D], in the space of the item table
  const float* summary = nullptr;  // [D], what a context reads of the history
};

class SequenceBackbone {
 public:
  virtual ~SequenceBackbone() = default;
  virtual SequenceState state(const SequenceTokens& tokens, ScratchArena& arena) const = 0;
};

// What a backbone is made from.
struct SequenceSource {
  const Bundle& bundle;
  Config options;  // the backbone's section
};

std::unique_ptr<SequenceBackbone> make_gru4rec(const SequenceSource& source);
std::unique_ptr<SequenceBackbone> make_sasrec(const SequenceSource& source);
std::unique_ptr<SequenceBackbone> make_srgnn(const SequenceSource& source);
std::unique_ptr<SequenceBackbone> make_youtubednn(const SequenceSource& source);

// The names that can be served, sorted.
const std::vector<std::string>& served_sequence_backbones();
// Throws Error naming the backbone and those that can be served.
std::unique_ptr<SequenceBackbone> make_sequence_backbone(const std::string& name,
                                                         const SequenceSource& source);

}  // namespace llmcf::serve
