// What several backbones do with a block before their own arithmetic: fields in the spec's order, a
// context as one more field.
#pragma once

#include <algorithm>

#include "serve/scorer/backbone.h"

namespace llmcf::serve {

// Where field f of the spec lies: the index among the item's or the request's fields.
inline int64_t place_of(const std::vector<int>& fields, int field) {
  return std::find(fields.begin(), fields.end(), field) - fields.begin();
}

// Rows [F, D] of all fields of a candidate, in the order of the spec, at `out`.
inline void write_fields(const FieldPlan& plan, const float* request, const float* item,
                         float* out) {
  const int64_t D = plan.dim();
  int64_t of_item = 0, of_request = 0;
  for (int f = 0; f < plan.fields(); ++f, out += D)
    std::copy_n(
        plan.is_item(f) ? item + plan.fields_at() + D * of_item++ : request + D * of_request++, D,
        out);
}

// A context as one more field: as it is where it is as wide as a field, else projected.
class ContextField {
 public:
  explicit ContextField(const BackboneSource& source)
      : there_(source.context_width > 0),
        projects_(source.bundle.has_weight("backbone.context_projection.weight")) {
    if (projects_)
      projection_ = Linear(LinearWeights::of(source.bundle, "backbone.context_projection"));
  }

  bool there() const { return there_; }
  int64_t count() const { return there_ ? 1 : 0; }
  // [count, D]; empty without a context.
  Matrix of(const Matrix& context, ScratchArena& arena) const {
    if (!projects_) return context;
    const Matrix projected = Matrix::make(context.count, projection_.out(), arena);
    projection_.apply(context, projected);
    return projected;
  }

 private:
  bool there_, projects_;
  Linear projection_;
};

}  // namespace llmcf::serve
