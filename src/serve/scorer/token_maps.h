// The two small networks in front of every context that reads texts: frozen text -> mapped text,
// and a sample's parts (embedded fields, mapped texts) -> feature token, its first layer split into
// a half per request and a half per item.
#pragma once

#include <cstdint>

#include "serve/scorer/context.h"

namespace llmcf::serve {

struct TokenRequest : RequestState {
  const float* half = nullptr;  // of the token map's first layer
};

class TokenMaps {
 public:
  // `prefix`: of the token map's weights, "context.token_map" or "context.ict.token_map".
  TokenMaps(const ContextOfSource& source, const std::string& prefix);

  int64_t width() const { return width_; }            // d
  int64_t text_width() const { return text_.out(); }  // M
  const MlpLayers& text() const { return text_; }

  void fill_item(const float* text, float* constants, ScratchArena& arena) const;
  TokenRequest request(const RequestParts& request, ScratchArena& arena) const;
  // Feature tokens of candidates, [count, d].
  Matrix tokens(const TokenRequest& request, const float* const* items, int64_t count,
                ScratchArena& arena) const;

 private:
  SplitColumns columns() const;

  const FieldPlan& fields_;
  const BundleSpec& spec_;
  MlpLayers text_;
  SplitMlp token_;
  int64_t width_ = 0;
  int64_t half_at_ = 0;
};

}  // namespace llmcf::serve
