// All items of a sequence bundle against one state, by inner product: the best k that a request may
// be shown. Exact, or proposed by an approximate index and scored exactly.
//
// Tensor of the bundle: items.panels f32, items 1, 2, ... in column panels of 32 (kernels.h).
//
// Invariants:
//  1. Lists are those of retrieval::ItemIndex::best, scores bit for bit: one chain of fused
//     multiply-adds, equal scores in the order of their rows.
//  2. What a request hides is left out before the cut: k items come back where k are left, with an
//     approximate index too, which hands over to the exact scan where it finds fewer or where most
//     of the catalogue is hidden.
//
// Thread safety: const; every thread has an arena of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/config.h"
#include "serve/arena.h"
#include "serve/bundle.h"

namespace llmcf::retrieval {
class ApproximateItems;
class ItemIndex;
}  // namespace llmcf::retrieval

namespace llmcf::serve {

// first_stage:
//   index: exact      # exact | approximate: for catalogues of some hundred thousand items and more
//   probes: 0         # approximate: cells looked into; 0 = a 32nd of them
struct ItemListOptions {
  bool approximate = false;
  int64_t probes = 0;

  // Throws InputError.
  static ItemListOptions from(const Config& section);
};

struct RankedItems {
  std::vector<int32_t> rows;  // best first
  std::vector<float> scores;
};

class ItemList {
 public:
  // Builds the approximate index, on all threads: half a minute for a million items. Throws
  // InputError on tensors that do not fit, Error on more probes than there are cells.
  ItemList(const Bundle& bundle, const ItemListOptions& options);
  ~ItemList();

  int64_t items() const { return items_; }
  // `state` [D]; `hidden` by row, [items + 1] at least: other than 0 = not to be shown.
  RankedItems best(const float* state, int64_t k, std::span<const char> hidden,
                   ScratchArena& arena) const;
  // Scores of these rows, in [1, items].
  void score(const float* state, std::span<const int32_t> rows, ScratchArena& arena,
             std::span<float> out) const;

  // Makes items.panels of a table [items + 1, D]; row 0 is no item.
  static void add_to(SafetensorsWriter& writer, std::span<const float> table, int64_t items,
                     int64_t width, std::vector<float>& kept);

 private:
  RankedItems scan(const float* state, int64_t k, std::span<const char> hidden,
                   ScratchArena& arena) const;
  // Fewer than k where the index proposes no more.
  RankedItems proposed(const float* state, int64_t k, std::span<const int32_t> hidden) const;

  int64_t items_ = 0, width_ = 0;
  std::span<const float> table_;   // [items + 1, D]
  std::span<const float> panels_;  // column panels of items 1, 2, ...
  std::unique_ptr<retrieval::ItemIndex> exact_;
  std::unique_ptr<retrieval::ApproximateItems> approximate_;  // null: exact scans
};

}  // namespace llmcf::serve
