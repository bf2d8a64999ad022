#include "serve/scorer/token_maps.h"

#include <algorithm>

namespace llmcf::serve {

TokenMaps::TokenMaps(const ContextOfSource& source, const std::string& prefix)
    : fields_(source.fields),
      spec_(source.bundle.spec()),
      text_(source.bundle, "context.text_map", 0, false, false),
      token_(source.bundle, prefix, columns(), false, false) {
  const int64_t layers = MlpLayers::count(source.bundle, prefix);
  width_ =
      source.bundle.weight_shape(prefix + ".linear" + std::to_string(layers - 1) + ".weight")[0];
  half_at_ = source.layout.add(token_.first().out());
}

// Parts in order: the fields, with the item's text after the first item field and the history's
// after the first history field (models/frozen_text.h).
SplitColumns TokenMaps::columns() const {
  const int64_t F = fields_.fields(), D = fields_.dim(), M = text_.out();
  const auto after_first = [&](models::FieldRole role) {
    for (int64_t f = 0; f < F; ++f)
      if (spec_.fields[static_cast<size_t>(f)].spec.role == role) return f + 1;
    return F;
  };
  const int64_t item_before = after_first(models::FieldRole::kItem);
  const int64_t history_before = after_first(models::FieldRole::kHistory);
  SplitColumns columns;
  std::vector<int64_t> item_text, history_text;
  int64_t column = 0;
  const auto take = [&](std::vector<int64_t>& into, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      into.push_back(column++);
  };
  for (int64_t f = 0; f <= F; ++f) {
    if (f == item_before) take(item_text, M);
    if (f == history_before) take(history_text, M);
    if (f < F) take(fields_.is_item(static_cast<int>(f)) ? columns.item : columns.request, D);
  }
  columns.item.insert(columns.item.end(), item_text.begin(), item_text.end());
  columns.request.insert(columns.request.end(), history_text.begin(), history_text.end());
  return columns;
}

void TokenMaps::fill_item(const float* text, float* constants, ScratchArena& arena) const {
  const ScratchArena::Scope scope(arena);
  const auto fields = static_cast<int64_t>(fields_.item_fields().size()) * fields_.dim();
  float* parts = arena.floats(fields + text_width());
  std::copy_n(constants + fields_.fields_at(), fields, parts);
  text_.apply_row(text, parts + fields, arena);
  token_.first().item_half(parts, constants + half_at_);
}

TokenRequest TokenMaps::request(const RequestParts& request, ScratchArena& arena) const {
  const auto fields = static_cast<int64_t>(fields_.request_fields().size()) * fields_.dim();
  float* parts = arena.floats(fields + text_width());
  std::copy_n(request.fields, fields, parts);
  std::copy_n(request.history_text, text_width(), parts + fields);
  float* half = arena.floats(kernels::padded(token_.first().out()));
  token_.first().request_half(parts, half);
  TokenRequest state;
  state.half = half;
  return state;
}

Matrix TokenMaps::tokens(const TokenRequest& request, const float* const* items, int64_t count,
                         ScratchArena& arena) const {
  return token_.apply(request.half, at_offset(items, count, half_at_, arena), {}, count, arena);
}

}  // namespace llmcf::serve
