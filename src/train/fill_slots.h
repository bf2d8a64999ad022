// Which examples the rows of a batch are shown, by place in the list of distinct ones: what both
// builders write. No libtorch.
#pragma once

#include <cstdint>
#include <span>

#include "models/batch.h"
#include "train/feature_store.h"
#include "train/id_set.h"

namespace llmcf::train {

// Writes slots, slot, slot_similarity and example_ids of the batch. The order of a row's examples
// is kept (the last one is next to the query); masked slots move to the front.
inline void fill_slots(const SlotColumns& slots, int64_t per_row, std::span<const int64_t> rows,
                       IdSet& examples, models::Batch& batch) {
  const auto k = static_cast<size_t>(per_row);
  batch.slots = per_row;
  batch.slot.assign(rows.size() * k, -1);
  batch.slot_similarity.assign(rows.size() * k, 0.0F);
  for (size_t query = 0; query < rows.size(); ++query) {
    size_t free = k;  // filled from the end
    for (size_t slot = k; slot-- > 0;) {
      const size_t from = static_cast<size_t>(rows[query]) * k + slot;
      if (slots.ids[from] < 0) continue;
      --free;
      examples.mark(slots.ids[from]);
      batch.slot[query * k + free] = slots.ids[from];
      if (!slots.similarity.empty())
        batch.slot_similarity[query * k + free] = slots.similarity[from];
    }
  }
  examples.list(batch.example_ids);
  for (int32_t& slot : batch.slot)
    if (slot >= 0) slot = examples.place(slot);
}

}  // namespace llmcf::train
