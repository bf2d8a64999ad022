// Whether chains of thought are about what they were asked: how many of the target's title words,
// brand, categories and the decision a text states, and how many another row's text does (a text
// that fits every row says nothing).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cot/facts.h"

namespace llmcf::cot {

// Shares in [0, 1]; `asked` counts what there was to state.
struct Stated {
  double share = 0;
  int64_t asked = 0;
};

struct Grounding {
  int64_t texts = 0;
  Stated title_words;                    // of the target's distinct title words
  std::map<std::string, Stated> fields;  // of the target's values of each categorical field
  Stated decision;                       // stated and right
  double no_decision = 0;                // share of texts that state none
};

struct GroundedText {
  Facts facts;  // with the decision
  std::string_view text;
};

// Words are compared without case, values as whole phrases.
Grounding measure_grounding(const std::vector<GroundedText>& texts);
// The control: every text measured against the facts of the next row of the list.
Grounding measure_shuffled(const std::vector<GroundedText>& texts);

// What a text says was done: chosen, not chosen, or nothing of the kind.
std::optional<bool> stated_decision(std::string_view text);

}  // namespace llmcf::cot
