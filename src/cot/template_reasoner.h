// Chains of thought without a language model: sentences grounded in the row's attributes, in the
// four parts of the paper's prompt (profile, target, alignment, diversity); user preferences and
// item facts in the same way. The offline fallback,
// labelled `template` wherever its texts are shown.
//
// Invariants:
//  1. Everything it says is computed from the facts: which brands, categories and title words the
//     history favours, what overlaps with the target and what does not, how recently.
//  2. The same facts and seed give the same text. Phrases vary with the seed, facts do not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cot/reasoner.h"

namespace llmcf::cot {

// How well the target fits the history, in [0, 1]: overlap in every attribute and in title words,
// rare values and recent purchases weighing more. Does not look at the decision. Also serves as a
// distillation teacher, under this name. 0 without history.
double attribute_alignment(const Facts& facts);

class TemplateReasoner final : public Reasoner {
 public:
  std::string kind() const override { return "template"; }
  std::string model() const override { return "template"; }
  std::string settings() const override;
  Usage bound(const ReasonRequest&) const override { return {}; }
  ReasonOutcome attempt(const ReasonRequest& request,
                        const std::atomic<bool>* cancelled) const override;
};

// A chain of thought, of the wanted parts only.
std::string template_text(const Facts& facts, uint64_t seed, const Parts& parts = {});
// The answers of a reasoner that computes them: one chain of thought per candidate, or, whatever
// the chain, the template's text about the user or the item. REQUIRES: it is not asked to judge.
using ChainWriter = std::string (*)(const Facts&, uint64_t seed, const Parts&);
ReasonOutcome computed_answers(const ReasonRequest& request, ChainWriter chain);
// What the history favours, lately and over all. Looks at the history only.
std::string template_user_text(const Facts& facts, uint64_t seed);
// What the target is, sets apart and goes with. Looks at the target only.
std::string template_item_text(const Facts& facts, uint64_t seed);

}  // namespace llmcf::cot
