// Arithmetic of one training step: what the matrix products of each backbone and of the in-context
// module need, with the published sizes (width 32, tower 200-80). 2 operations per multiply-add
// forward and 4 backward, but no gradient goes to frozen inputs. Element-wise work, embeddings and
// the optimiser are not counted: the limit that follows is one of matrix products alone.
#pragma once

#include <initializer_list>
#include <string_view>

#include "models/batch.h"

namespace llmcf::bench {

// Multiply-adds of a chain of linear layers.
inline double chain(std::initializer_list<int64_t> widths) {
  double sum = 0;
  for (const int64_t* at = widths.begin() + 1; at != widths.end(); ++at)
    sum += static_cast<double>(at[-1] * at[0]);
  return sum;
}

// Multiply-adds of the backbone's forward pass over a batch of `fields` fields and, with a context,
// one vector more. Each is the formula the code uses, not the published one: DCN's cross layers are
// one product, DIN's first attention layer is split over rows, items and events.
inline double backbone_products(std::string_view backbone, const models::Batch& batch,
                                int64_t fields, bool context) {
  constexpr int64_t D = 32;
  const auto rows = static_cast<double>(batch.queries);
  const int64_t with = fields + (context ? 1 : 0), d = with * D;
  if (backbone == "xdeepfm")
    return rows * (chain({d, 200, 80, 1}) +
                   static_cast<double>(D * with) * (static_cast<double>(with) + 50 + 50) * 100);
  if (backbone == "autoint")
    return rows * (chain({d, 200, 80, 1}) +
                   static_cast<double>(with) * (chain({D, 192}) + chain({64, 64}) + chain({D, 64}) +
                                                2 * chain({with, 64}) + 64)) +
           chain({192, 64, D});
  if (backbone == "dcn")
    return rows * (chain({d, 200, 80, 1}) + chain({d, 4}) + (context ? chain({D, D}) : 0));
  if (backbone == "dcnv2")
    return rows * (chain({d, 200, 80, 1}) + 2 * (chain({d, 16, d}) + 4 * 16 + chain({d, 4})) +
                   chain({d, 1}));
  if (backbone == "din") {
    const auto events = static_cast<double>(batch.history.items.size());
    const auto items = static_cast<double>(batch.history.distinct);
    return rows * (chain({2 * 96 + 32 + (context ? D : 0), 200, 80, 1}) + chain({96, 64})) +
           items * chain({96, 64}) + events * (chain({96, 64, 16, 1}) + 96);
  }
  return rows * chain({d, 200, 80, 1});  // deepfm
}

// Operations of a step's in-context module: K slots, texts of width W.
inline double in_context_flops(const models::Batch& batch, int64_t fields, int64_t W) {
  const auto queries = static_cast<double>(batch.queries);
  const auto samples = static_cast<double>(batch.samples);
  const auto slots = static_cast<double>(batch.slots);
  const double mapped = static_cast<double>(batch.text_items.size()) + samples +
                        static_cast<double>(batch.example_ids.size());
  double flops = mapped * (4 * chain({W, 256}) + 6 * chain({256, 32}));
  flops += samples * 6 * chain({(fields + 2) * 32, 128, 32});
  const double tokens = 3 * slots + 1;
  const double layer =
      tokens * (4 * 32 * 32 + 3 * 32 * 64) + tokens * tokens * 32;  // half of the mask is free
  flops += queries * 6 * 2 * layer;
  return flops + queries * slots * 6 * chain({32, 256, W});
}

inline double step_flops(std::string_view backbone, const models::Batch& batch, int64_t fields,
                         int64_t W) {
  const bool context = batch.slots > 0;
  return 6 * backbone_products(backbone, batch, fields, context) +
         (context ? in_context_flops(batch, fields, W) : 0);
}

}  // namespace llmcf::bench
