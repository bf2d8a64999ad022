// Candidates from a sequence model: its state of the user's history, its list of items, and what
// its items are called in another bundle, whose model ranks them.
//
//   candidates: {bundle: FILE}   # a sequence bundle in front of a click bundle
//   first_stage: {...}           # item_list.h
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "serve/deployment.h"
#include "serve/user_history.h"

namespace llmcf::serve {

struct FirstStageOptions {
  std::filesystem::path candidates;  // empty = none
  ItemListOptions list;

  // Reads both sections. Throws InputError.
  static FirstStageOptions from(const Config& config);
};

// In the arena.
struct HistoryState {
  std::span<float> vector;        // [D]
  Slots slots;                    // of one candidate; k = 0 where the model reads no examples
  bool without_examples = false;  // it reads some, and there were none
};

// `deployment` is one of a sequence bundle, `catalogue` its. `attention` as in HistoryInput.
HistoryState state_of(const Deployment& deployment, const Catalogue& catalogue,
                      const KnownHistory& history, int64_t time, ScratchArena& arena,
                      float* attention = nullptr);

// A sequence bundle in front of a click bundle. Items are the same where their names are.
//
// Invariants:
//  1. Made for one pair of bundles and never changed: a request that has one uses a consistent
//  pair.
//  2. Items that only the sequence bundle knows are never listed; what is to be hidden is hidden
//     before the cut.
class Candidates {
 public:
  // Throws InputError naming the file that is no sequence bundle.
  Candidates(const Bundle& ranking, std::shared_ptr<const Deployment> sequence);

  const Deployment& sequence() const { return *sequence_; }
  int64_t only_listed() const { return only_listed_; }  // items the ranking bundle does not know
  int64_t only_ranked() const { return only_ranked_; }  // items the sequence bundle does not know

  // At most `wanted` rows of the ranking catalogue, best first; `hidden` by its rows. Nothing where
  // the sequence bundle knows no item of the history.
  std::optional<std::vector<int32_t>> best(const Catalogue& ranking, const Past& past, int64_t time,
                                           size_t wanted, std::span<const char> hidden,
                                           ScratchArena& arena) const;

 private:
  std::shared_ptr<const Deployment> sequence_;
  std::vector<int32_t> row_of_;  // by row of the sequence bundle: the ranking bundle's; 0 = none
  int64_t only_listed_ = 0, only_ranked_ = 0;
};

}  // namespace llmcf::serve
