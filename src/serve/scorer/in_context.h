// The in-context chain-of-thought module as served (ict/in_context_module.h), in all its layouts,
// and the mean of its input tokens.
//
// The tokens of examples do not depend on the query: their feature tokens and mapped chains of
// thought are precomputed. Candidates with the same examples share the prefix's keys and values of
// every layer (unless evidence makes prefixes differ); in the last layer only keys and values of
// the prefix are computed, and the query's position.
#pragma once

#include "serve/scorer/token_maps.h"

namespace llmcf::serve {

class InContext final : public Context {
 public:
  explicit InContext(const ContextOfSource& source);
  ~InContext() override;

  int64_t width() const override { return maps_.width(); }
  void fill_item(const float* text, float* constants, ScratchArena& arena) const override {
    maps_.fill_item(text, constants, arena);
  }
  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override;
  void compute(const RequestState* state, const ContextBlock& block, ScratchArena& arena,
               const Matrix& out) const override;
  int64_t text_width() const override { return maps_.text_width(); }
  void map_text(const float* text, float* out, ScratchArena& arena) const override {
    maps_.text().apply_row(text, out, arena);
  }
  void token(const RequestState* state, const float* item, float* out,
             ScratchArena& arena) const override;

 private:
  struct Layer;
  // The tokens of examples in front of queries: prefix p has rows [begin[p], begin[p + 1]).
  struct Prefixes;

  // Tokens of a slot.
  int64_t step() const { return merged_ ? 1 : 2 + (with_cot_ ? 1 : 0); }
  void decide(std::span<const float> labels);
  Prefixes make_prefixes(const ContextBlock& block, ScratchArena& arena) const;
  void write_prefixes(const ContextBlock& block, const int64_t* first, Prefixes& prefixes,
                      ScratchArena& arena) const;
  void add_prefix_layer(const Layer& layer, bool last, Prefixes& prefixes, Matrix& qkv,
                        ScratchArena& arena) const;
  Matrix query_layer(const Layer& layer, const Prefixes& prefixes, const Matrix& qkv,
                     const Matrix& query, const ContextBlock& block, bool last,
                     ScratchArena& arena) const;
  Matrix feed_forward(const Layer& layer, const Matrix& x, ScratchArena& arena) const;
  void mean(const Prefixes& prefixes, const Matrix& query, const Matrix& out) const;
  void rotate(float* x, int64_t position) const;
  void tell_attention(const float* weights, int64_t count, const ContextBlock& block,
                      int64_t candidate) const;

  TokenMaps maps_;
  bool merged_, with_cot_, residual_, attends_, evidence_;
  int64_t heads_ = 0, head_dim_ = 0, slot_features_ = 0;
  std::span<const float> feature_, cot_;  // [N, d]
  std::span<const int32_t> example_label_;
  std::vector<float> decided_;  // rows of padded(d): what the token of the decision begins with, by
                                // example (merged) or by label
  kernels::PackedWeights evidence_map_;  // 2 G -> d
  std::vector<float> gate_;              // [d]
  std::vector<Layer> layers_;
  std::vector<float> norm_;
  std::vector<float> cosine_, sine_;  // [positions, head_dim / 2]
};

}  // namespace llmcf::serve
