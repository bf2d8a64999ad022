// Chains of thought by somebody who lives in the world of the sample shop: they know the pursuits
// behind brands and what the words of titles mean (data/sample_world.h). What RecGen-mini is taught
// to write, and as `reason: {kind: shop_expert}` the upper bound of what it can be worth. About
// items of any other world it has next to nothing to say.
//
// Invariants:
//  1. What it says follows from the facts and the world alone; it never sees a user's pursuit or
//     taste, only what they bought.
//  2. The same facts and seed give the same text. Phrases vary with the seed, facts do not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cot/facts.h"
#include "cot/parts.h"
#include "cot/reasoner.h"
#include "data/sample_world.h"

namespace llmcf::cot {

// A chain of thought, of the wanted parts only.
std::string shop_expert_text(const Facts& facts, uint64_t seed, const Parts& parts = {});

// What the expert reads from a history, and how an item meets it.
struct ShopReading {
  std::optional<size_t> pursuit;                    // what most brands of the history speak of
  std::array<std::optional<size_t>, 3> favourites;  // scent, need, promise that recur
};
ShopReading read_history(const Facts& facts);
// 0 (nothing fits) to 1: pursuit, scent, need and promise. Does not look at the decision.
double shop_match(const ShopReading& reading, const ItemFacts& item);

class ShopExpert final : public Reasoner {
 public:
  std::string kind() const override { return "shop_expert"; }
  std::string model() const override { return "shop_expert"; }
  std::string settings() const override { return "shop_expert/1"; }
  Usage bound(const ReasonRequest&) const override { return {}; }
  ReasonOutcome attempt(const ReasonRequest& request,
                        const std::atomic<bool>* cancelled) const override;
};

}  // namespace llmcf::cot
