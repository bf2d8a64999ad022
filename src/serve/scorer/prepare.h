// What is computed once, when a run is published: the constants of all items (of a sequence bundle:
// their vectors as scans want them) and the tokens of all examples, by the same code that serves.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "serve/scorer/context.h"

namespace llmcf::serve {

class Precomputed {
 public:
  // `raw`: a bundle without these tensors. It may hold examples.context.<field>.{offsets,ids} (or
  // .values): the context features of examples, which are left out of what is served. On all
  // threads. Throws Error naming what cannot be served.
  explicit Precomputed(std::shared_ptr<const Bundle> raw);

  // All tensors of the finished bundle; valid as long as this. The spec is the raw bundle's.
  void add_to(SafetensorsWriter& writer) const;

 private:
  // Writes the feature token of an example.
  using TokenOf = std::function<void(int64_t example, ScratchArena& arena, float* token)>;

  void compute_items();
  void compute_examples();
  void compute_sequence_examples();
  void map_examples(const Context& context, const TokenOf& token_of);

  std::shared_ptr<const Bundle> raw_;
  int64_t item_width_ = 0, token_width_ = 0;
  std::vector<float> items_, feature_, cot_;
  mutable std::vector<float> panels_;  // alive until the bundle is written
};

}  // namespace llmcf::serve
